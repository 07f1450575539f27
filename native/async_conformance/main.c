/*
 * Checks one rule in a process of its own, because an implementation that breaks it may crash or wait forever:
 * `check IMPLEMENTATION.so producer|consumer INDEX` prints what was seen; 0 the rule is kept, 1 it is broken, 2 it could not be checked.
 * Without an index it prints the roles that the implementation has: 1 producer, 2 consumer, 3 both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit.h"

int kit_load(const char *path, char *error);
int kit_check(int is_consumer, int index, char *out);

int main(int count, char **arguments) {
    char detail[DETAIL_BYTES] = {0};
    if (count != 2 && count != 4) return 2;
    int roles = kit_load(arguments[1], detail);
    if (roles < 0) {
        fprintf(stderr, "%s\n", detail);
        return 2;
    }
    if (count == 2) return printf("%d\n", roles), 0;
    int failed = kit_check(strcmp(arguments[2], "consumer") == 0, atoi(arguments[3]), detail);
    printf("%s\n", detail);
    fflush(stdout);
    /* Threads of the implementation may still run: its destructors are not. */
    _exit(failed);
}
