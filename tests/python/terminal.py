"""Runs a command on a terminal of its own and prints {"code", "text"} as JSON.

Usage: terminal.py COLUMNS SECONDS ANSWERS COMMAND...

ANSWERS is a JSON list of [text, answer]: once the text has been shown, the answer is typed. "code" is the exit status, or
128 and the number of the signal.
"""
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time


def main() -> None:
    columns, seconds, answers = int(sys.argv[1]), float(sys.argv[2]), json.loads(sys.argv[3])
    pid, terminal = pty.fork()
    if pid == 0:
        # The size is set before the command looks at it.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        os.execvp(sys.argv[4], sys.argv[4:])
    shown, seen, end = b"", 0, time.monotonic() + seconds
    while time.monotonic() < end:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if ready:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # how Linux reports that the command has closed the terminal
                break
            if not data:
                break
            shown += data
        if answers and answers[0][0].encode() in shown[seen:]:
            seen = len(shown)
            # Deno discards what was typed before its prompt was complete.
            time.sleep(0.3)
            os.write(terminal, answers.pop(0)[1].encode())
    else:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    text = shown.decode(errors="replace").replace("\r\n", "\n")
    json.dump({"code": code if code >= 0 else 128 - code, "text": text}, sys.stdout)


main()
