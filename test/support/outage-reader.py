"""Reads through a mount for as long as it is let, and tells every result as a line of JSON.

outage-reader.py SOURCE MOUNTED PERMITS: threads of one kind read MOUNTED/cached over and over, past the page cache;
threads of the other read each file of MOUNTED/cold once, as many as the number in the file PERMITS says, and again
until they get it. All bytes are compared with those below SOURCE.
"""
import json, os, sys, threading, time

source, cached, cold, permits = sys.argv[1:5]
output = threading.Lock()


def tell(**event):
    with output:
        print(json.dumps(event), flush=True)


def read(name, mounted):
    started = time.monotonic()
    try:
        fd = os.open(os.path.join(mounted, name), os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            found = b""
            while piece := os.read(fd, 1 << 20):
                found += piece
        finally:
            os.close(fd)
    except OSError as error:
        return {"ok": False, "errno": error.errno, "seconds": time.monotonic() - started}
    with open(os.path.join(source, os.path.basename(mounted).split("-", 1)[1], name), "rb") as expected:
        right = expected.read() == found
    return {"ok": right, "errno": None, "seconds": time.monotonic() - started}


def names(kind):
    return sorted(os.listdir(os.path.join(source, kind)))


def read_cached():
    done = 0
    while True:
        for name in names("cached"):
            event = read(name, cached)
            done += 1
            if not event["ok"] or done % 50 == 0:
                tell(kind="cached", reads=done, **event)


taken = -1
turn = threading.Lock()


def next_cold():
    global taken
    with turn:
        taken += 1
        return taken


def read_cold():
    files = names("cold")
    while True:
        index = next_cold()
        while True:
            with open(permits) as file:
                if index < int(file.read() or 0):
                    break
            time.sleep(0.02)
        while True:
            event = read(files[index], cold)
            tell(kind="cold", index=index, **event)
            if event["ok"]:
                break


for work in [read_cached, read_cached, read_cold, read_cold]:
    threading.Thread(target=work, daemon=True).start()
time.sleep(600)
