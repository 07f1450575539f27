/*
 * Preloaded into a process: kills another one in the moment in which UCX here has connected to it by TCP and has not yet said who it
 * is. The file that DIPC_DOOMED names has the other one's process id, and is removed once that has ended; the message is sent then.
 * Build: cc -shared -fPIC -o early_death.so early_death.c
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* How UCX's TCP transport begins a connection, in 1.13.1 and 1.22.0. */
static const uint64_t BEGINNING = 0xCAFEBABE12345678u;
enum { LOOKS = 5000, LOOK_MICROSECONDS = 1000 };

/* Whether a process has ended with all its threads, and has so closed its sockets: its parent has yet to hear of it. */
static int has_ended(int process) {
  char path[32], state = 'Z';
  int threads = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", process);
  FILE *file = fopen(path, "r");
  if (file == NULL) return 1;
  int fields = fscanf(file, "%*d %*s %c", &state);
  fclose(file);
  snprintf(path, sizeof path, "/proc/%d/task", process);
  DIR *tasks = opendir(path);
  for (struct dirent *task; tasks != NULL && (task = readdir(tasks)) != NULL;) threads += task->d_name[0] != '.';
  if (tasks != NULL) closedir(tasks);
  return fields < 1 || (state == 'Z' && threads <= 1);
}

static void kill_peer(const char *path) {
  int process = 0;
  FILE *file = fopen(path, "r");
  if (file == NULL) return;
  int fields = fscanf(file, "%d", &process);
  fclose(file);
  if (fields < 1 || process <= 1) return;
  kill(process, SIGKILL);
  for (int i = 0; i < LOOKS && !has_ended(process); i++) usleep(LOOK_MICROSECONDS);
  unlink(path);
}

ssize_t send(int socket, const void *data, size_t length, int flags) {
  static ssize_t (*next)(int, const void *, size_t, int);
  if (next == NULL) next = (ssize_t (*)(int, const void *, size_t, int)) dlsym(RTLD_NEXT, "send");
  const char *doomed = getenv("DIPC_DOOMED");
  if (doomed != NULL && length > sizeof BEGINNING && memcmp(data, &BEGINNING, sizeof BEGINNING) == 0) kill_peer(doomed);
  return next(socket, data, length, flags);
}
