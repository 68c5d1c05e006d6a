/** Python programs that run in a guest, and on the host for comparison; they print JSON. */

/** Everything below a folder: names, kinds, sizes and targets; and the hash of all contents, in order. */
export const LIST = `
import json, os, stat, sys
root = os.fsencode(sys.argv[1]); out = []
for folder, folders, files in os.walk(root):
    for name in folders + files:
        path = os.path.join(folder, name); st = os.lstat(path); kind = stat.S_IFMT(st.st_mode)
        what = st.st_size if stat.S_ISREG(kind) else os.readlink(path).hex() if stat.S_ISLNK(kind) else None
        out.append([os.path.relpath(path, root).hex(), kind, st.st_mode & 0o100 if stat.S_ISREG(kind) else None, what])
print(json.dumps(sorted(out, key=repr)))`
export const HASH = `
import hashlib, json, os, sys
root = os.fsencode(sys.argv[1]); sums = {}
for folder, _, files in os.walk(root):
    for name in files:
        path = os.path.join(folder, name)
        if os.path.islink(path): continue
        with open(path, 'rb', buffering=0) as f:
            h = hashlib.sha256()
            while data := f.read(1 << 20): h.update(data)
        sums[os.path.relpath(path, root).hex()] = h.hexdigest()
print(json.dumps(sums))`
export const ERRNOS = `
import errno, json, os, sys
def outcome(path):
    try:
        os.lstat(path); return 'ok'
    except OSError as e: return errno.errorcode[e.errno]
print(json.dumps([outcome(path) for path in sys.argv[1:]]))`
export const READ = `
import errno, json, sys
try:
    print(json.dumps(open(sys.argv[1]).read()))
except OSError as e: print(json.dumps(errno.errorcode[e.errno]))`
