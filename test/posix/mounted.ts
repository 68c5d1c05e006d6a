/** Where a suite works: the sample tree (sample.ts), mounted, seen by the programs that `run` and `python` start. */
export interface MountedSample {
  /** The directory that holds the sample tree. */
  readonly dir: string
  run(
    program: string,
    ...args: string[]
  ): Promise<{
    readonly status: number | null
    readonly stdout: string
    readonly stderr: string
  }>
  /** Runs a Python program and parses the JSON that it prints. */
  python(script: string, ...args: string[]): Promise<unknown>
}

/** Python that the suites share: `d` is the sample tree, `outcome(f)` the name of the errno of a call, or "ok". */
export const PYTHON_PRELUDE = `
import ctypes, errno, fcntl, json, mmap, os, stat, sys
d = os.fsencode(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def p(*parts): return os.path.join(d, *[os.fsencode(x) for x in parts])
def outcome(f):
    try:
        f()
        return 'ok'
    except OSError as e:
        return errno.errorcode[e.errno]
def call(name, *args):
    """A libc function that Python lacks; raises OSError."""
    if getattr(libc, name)(*args) < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
def done(value): print(json.dumps(value))
`
