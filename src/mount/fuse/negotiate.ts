import { FUSE_BACKGROUND_MAX, FUSE_READ_BYTES_MAX } from '../../support/limits.ts'
import { INIT_IN, InitFlag, InitFlag2, MAJOR, MINOR, MINOR_MIN } from './protocol.ts'
import type { InitReply } from './reply.ts'
import type { Request } from './request.ts'

/** What the kernel and we agreed on. */
export interface Agreement extends InitReply {
  /** The kernel can be told, by ENOSYS, never to send OPEN again. */
  readonly noOpen: boolean
  readonly noOpendir: boolean
  /** The kernel can read files of this machine by itself. */
  readonly passthrough: boolean
}

const PAGE_BYTES = 4096
/** The least the kernel accepts; nothing is ever written. */
const WRITE_BYTES_MAX = 4096

/**
 * What we want of the kernel. READDIRPLUS always (without AUTO): a listing brings all attributes, so that a walk
 * needs no LOOKUP. Symlinks are cached; lookups and reads of one inode may overlap; cached pages stay until we
 * say otherwise. Not AUTO_INVAL_DATA, which asks for attributes again; not EXPORT_SUPPORT: inode numbers of a
 * later mount name other files, so file handles must not decode.
 */
const FLAGS =
  InitFlag.ASYNC_READ |
  InitFlag.DO_READDIRPLUS |
  InitFlag.NO_OPEN_SUPPORT |
  InitFlag.PARALLEL_DIROPS |
  InitFlag.MAX_PAGES |
  InitFlag.CACHE_SYMLINKS |
  InitFlag.NO_OPENDIR_SUPPORT |
  InitFlag.EXPLICIT_INVAL_DATA |
  InitFlag.INIT_EXT

/**
 * What a kernel needs that cannot be told to drop the listing of the root: it looks at the modification time before it
 * lists from its cache. Attributes of everything but the root hold for ever, so nothing else is asked for again.
 */
const FLAGS_WITHOUT_NOTIFICATIONS = (FLAGS & ~InitFlag.EXPLICIT_INVAL_DATA) | InitFlag.AUTO_INVAL_DATA

const FLAGS2 = InitFlag2.NO_EXPORT_SUPPORT

/** Files that are passed through lie on a plain filesystem; then ours may be the lower one of an overlay. */
const PASSTHROUGH_STACK_DEPTH = 1

/**
 * Answers the kernel's INIT. `version`: it speaks a newer major and has to come again; `too-old`: it cannot be
 * served.
 */
export function negotiate(
  request: Request,
  wantPassthrough: boolean,
  takesNotifications = true,
): Agreement | 'version' | 'too-old' {
  const major = request.u32(INIT_IN.major)
  const minor = request.u32(INIT_IN.minor)
  if (major > MAJOR) return 'version'
  if (major < MAJOR || minor < MINOR_MIN) return 'too-old'
  const offered = request.u32(INIT_IN.flags)
  const extended = (offered & InitFlag.INIT_EXT) !== 0 && request.bodyLength >= INIT_IN.flags2 + 4
  const offered2 = extended ? request.u32(INIT_IN.flags2) : 0
  const passthrough = wantPassthrough && (offered2 & InitFlag2.PASSTHROUGH) !== 0
  const wanted2 = passthrough ? FLAGS2 | InitFlag2.PASSTHROUGH : FLAGS2
  return {
    minor: Math.min(minor, MINOR),
    // Echoed: the kernel takes the lower of this and its own anyway.
    maxReadahead: request.u32(INIT_IN.maxReadahead),
    flags: (offered & (takesNotifications ? FLAGS : FLAGS_WITHOUT_NOTIFICATIONS)) >>> 0,
    flags2: (offered2 & wanted2) >>> 0,
    maxStackDepth: passthrough ? PASSTHROUGH_STACK_DEPTH : 0,
    maxBackground: FUSE_BACKGROUND_MAX,
    maxWrite: WRITE_BYTES_MAX,
    maxPages: FUSE_READ_BYTES_MAX / PAGE_BYTES,
    // The two exclude each other: what is passed through is said in the answer to OPEN.
    noOpen: !passthrough && (offered & InitFlag.NO_OPEN_SUPPORT) !== 0,
    noOpendir: (offered & InitFlag.NO_OPENDIR_SUPPORT) !== 0,
    passthrough,
  }
}
