import type { Call } from '../../support/call.ts'
import { MOUNT_ROOT_LISTING_MS, NAME_BYTES_MAX } from '../../support/limits.ts'
import {
  type Attributes,
  type Missing,
  type Soon,
  type Statfs,
  type Tree,
  type TreeEntry,
  TreeFault,
} from '../tree/interface.ts'
import type { Owner } from './attributes.ts'
import { Refusal } from './errno.ts'
import type { Listing, ListingPool } from './listing.ts'
import type { ListingsAhead } from './listings-ahead.ts'
import type { OpenedFile, OpenFiles } from './open-files.ts'
import { Errno, GETXATTR_IN, Opcode, OpenFlag, READ_IN, ROOT_NODE } from './protocol.ts'
import type { Reply } from './reply.ts'
import type { Request } from './request.ts'

/** What operations work with. */
export interface OperationContext {
  readonly tree: Tree
  readonly owner: Owner
  readonly listings: ListingPool
  /** Where whoever lists waits long for each page. */
  readonly listingsAhead: ListingsAhead | undefined
  readonly showXattr: boolean
  /** How long the kernel may remember that a name is missing which may yet appear; 0 is not at all. */
  readonly negativeMs: number
  /** Whether OPEN and OPENDIR are done away with by answering ENOSYS. */
  readonly noOpen: boolean
  readonly noOpendir: boolean
  /** With passthrough: which files are open. */
  readonly openFiles: OpenFiles | undefined
  /** Whether the kernel can be told that something changed. */
  readonly takesNotifications: boolean
  /** The kernel got (a part of) the root's listing and will keep it. */
  rootListed(): void
}

/**
 * One kind of request. `begin` reads the arguments (the request is gone afterwards) and asks the tree; when the
 * answer is there `write` puts it into the reply and returns 0, or an errno instead. Then `end`, if there is
 * one, learns whether the kernel took the reply.
 */
export interface Operation<T> {
  /** Bytes of the fixed structure that must be there. */
  readonly bodyBytes: number
  begin(request: Request, context: OperationContext, call: Call): Soon<T>
  write(value: T, reply: Reply, context: OperationContext): number
  end?(value: T, delivered: boolean, context: OperationContext): void
}

const lookup: Operation<TreeEntry | Missing> = {
  bodyBytes: 0,
  begin(request, { tree }, call) {
    const name = request.name(0)
    // The kernel leaves this check to us when it may send large requests.
    if (name.length > NAME_BYTES_MAX) throw new Refusal('ENAMETOOLONG')
    return tree.lookup(request.nodeid, name, call)
  },
  write(found, reply, { owner, negativeMs }) {
    if (!('missing' in found)) reply.entry(found, owner)
    else if (found.forever) reply.negativeEntry(undefined)
    else if (negativeMs > 0) reply.negativeEntry(negativeMs)
    else return Errno.ENOENT
    return 0
  },
  end(found, delivered, { tree }) {
    if (!delivered && !('missing' in found)) tree.forget(found.inode, 1)
  },
}

const getattr: Operation<{ readonly isRoot: boolean; readonly attributes: Attributes }> = {
  bodyBytes: 0,
  begin: ({ nodeid }, { tree }) => ({ isRoot: nodeid === ROOT_NODE, attributes: tree.getattr(nodeid) }),
  write({ isRoot, attributes }, reply, { owner, takesNotifications }) {
    if (isRoot && !takesNotifications) reply.passingAttributes(attributes, owner, MOUNT_ROOT_LISTING_MS)
    else reply.attributes(attributes, owner)
    return 0
  },
}

const readlink: Operation<Uint8Array> = {
  bodyBytes: 0,
  begin: (request, { tree }) => tree.readlink(request.nodeid),
  write: writePiece,
}

const read: Operation<readonly Uint8Array[]> = {
  bodyBytes: READ_IN.bytes,
  begin(request, { tree }, call) {
    const offset = request.u64(READ_IN.offset)
    if (!Number.isSafeInteger(offset)) throw new TreeFault('EINVAL')
    return tree.read(request.nodeid, offset, request.u32(READ_IN.size), call)
  },
  write(pieces, reply) {
    reply.pieces = pieces
    return 0
  },
  end: (_pieces, _delivered, { tree }) => afterAnswer(tree),
}

/** All that the tree does after an answer of its own. */
export function afterAnswer(tree: Tree): void {
  while (tree.answered?.());
}

/** READDIR (`plus` false) and READDIRPLUS. */
function listOperation(plus: boolean): Operation<Listing> {
  return {
    bodyBytes: READ_IN.bytes,
    begin(request, { tree, listings, listingsAhead }, call) {
      const cookie = request.u64(READ_IN.offset)
      if (!Number.isSafeInteger(cookie)) throw new TreeFault('EINVAL')
      const size = request.u32(READ_IN.size)
      const ready = plus ? listingsAhead?.take({ inode: request.nodeid, cookie, size }) : undefined
      if (ready) return ready
      const listing = listings.take()
      listing.reset(request.nodeid, size, plus)
      return fill(listing, tree, listings, () => tree.readdir(listing.inode, cookie, listing, plus, call))
    },
    write(listing, reply) {
      if (listing.tooSmall) return Errno.EINVAL
      reply.pieces = [listing.bytes]
      return 0
    },
    end(listing, delivered, context) {
      if (!delivered) listing.forget(context.tree)
      else if (listing.inode === ROOT_NODE) context.rootListed()
      else {
        if (plus) context.listingsAhead?.delivered(listing)
        afterAnswer(context.tree)
      }
      context.listings.give(listing)
    },
  }
}

/** The listing, once `list` filled it. When that fails, what was taken until then is given back. */
function fill(listing: Listing, tree: Tree, listings: ListingPool, list: () => Soon<void>): Soon<Listing> {
  const abandon = (error: unknown): never => {
    listing.forget(tree)
    listings.give(listing)
    throw error
  }
  try {
    const filled = list()
    return filled instanceof Promise ? filled.then(() => listing, abandon) : listing
  } catch (error) {
    return abandon(error)
  }
}

/** The answer to GETXATTR and LISTXATTR: bytes, for a caller who has room for `size` of them (0: asks how many). */
interface XattrAnswer {
  readonly value: Uint8Array | undefined
  readonly size: number
}

const getxattr: Operation<XattrAnswer> = {
  bodyBytes: GETXATTR_IN.bytes,
  begin(request, { tree }) {
    const name = Buffer.from(request.name(GETXATTR_IN.bytes)).toString('latin1')
    return { value: tree.getxattr(request.nodeid, name), size: request.u32(GETXATTR_IN.size) }
  },
  write: writeXattr,
}

const listxattr: Operation<XattrAnswer> = {
  bodyBytes: GETXATTR_IN.bytes,
  begin(request, { tree }) {
    const names = tree.listxattr(request.nodeid)
    const value = Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1')
    return { value, size: request.u32(GETXATTR_IN.size) }
  },
  write: writeXattr,
}

function writeXattr({ value, size }: XattrAnswer, reply: Reply, { showXattr }: OperationContext): number {
  // The kernel remembers ENOSYS and asks no more.
  if (!showXattr) return Errno.ENOSYS
  if (value === undefined) return Errno.ENODATA
  if (size === 0) reply.xattrSize(value.length)
  else if (value.length > size) return Errno.ERANGE
  else reply.pieces = [value]
  return 0
}

const statfs: Operation<Statfs> = {
  bodyBytes: 0,
  begin: (_request, { tree }) => tree.statfs(),
  write(values, reply) {
    reply.statfs(values)
    return 0
  },
}

/**
 * ENOSYS makes the kernel open files by itself from then on, with all caches kept: a warm open, read and close
 * costs no request. Kernels that do not know this get an open that keeps the cache.
 */
const open: Operation<OpenedFile | undefined> = {
  bodyBytes: 0,
  begin: (request, { openFiles }, call) => openFiles?.open(request.nodeid, call),
  write(opened, reply, { noOpen }) {
    if (noOpen) return Errno.ENOSYS
    if (opened?.backingId) reply.open(OpenFlag.PASSTHROUGH, opened.backingId)
    else reply.open(OpenFlag.KEEP_CACHE)
    return 0
  },
  end(opened, delivered, { openFiles }) {
    if (opened && !delivered) void openFiles?.release(opened.inode)
  },
}

const release: Operation<undefined> = {
  bodyBytes: 0,
  begin(request, { openFiles }) {
    void openFiles?.release(request.nodeid)
    return undefined
  },
  write: () => 0,
}

const opendir: Operation<undefined> = {
  bodyBytes: 0,
  begin: () => undefined,
  write(_, reply, { noOpendir }) {
    if (noOpendir) return Errno.ENOSYS
    reply.open(OpenFlag.KEEP_CACHE | OpenFlag.CACHE_DIR)
    return 0
  },
}

const nothing: Operation<undefined> = { bodyBytes: 0, begin: () => undefined, write: () => 0 }

function writePiece(piece: Uint8Array, reply: Reply): number {
  reply.pieces = [piece]
  return 0
}

export const READ: Operation<unknown> = read as Operation<unknown>

/** The requests that have an answer, by opcode. */
export const OPERATIONS: ReadonlyMap<number, Operation<unknown>> = new Map<number, Operation<unknown>>([
  [Opcode.LOOKUP, lookup],
  [Opcode.GETATTR, getattr],
  [Opcode.READLINK, readlink],
  [Opcode.OPEN, open],
  [Opcode.READ, read],
  [Opcode.STATFS, statfs],
  [Opcode.RELEASE, release],
  [Opcode.GETXATTR, getxattr],
  [Opcode.LISTXATTR, listxattr],
  [Opcode.OPENDIR, opendir],
  [Opcode.READDIR, listOperation(false)],
  [Opcode.READDIRPLUS, listOperation(true)],
  [Opcode.RELEASEDIR, nothing],
  [Opcode.DESTROY, nothing],
])

/** What would change something: the kernel refuses it by itself on a read-only mount. */
export const MUTATIONS: ReadonlySet<number> = new Set([
  Opcode.SETATTR,
  Opcode.SYMLINK,
  Opcode.MKNOD,
  Opcode.MKDIR,
  Opcode.UNLINK,
  Opcode.RMDIR,
  Opcode.RENAME,
  Opcode.LINK,
  Opcode.WRITE,
  Opcode.SETXATTR,
  Opcode.REMOVEXATTR,
  Opcode.CREATE,
  Opcode.FALLOCATE,
  Opcode.RENAME2,
  Opcode.COPY_FILE_RANGE,
  Opcode.TMPFILE,
  Opcode.COPY_FILE_RANGE_64,
])

/** What `OPERATIONS` does not know: FLUSH, ACCESS, LSEEK, STATX, … are asked once and done by the kernel then. */
export function refusalOf(opcode: number): number {
  return MUTATIONS.has(opcode) ? Errno.EROFS : Errno.ENOSYS
}
