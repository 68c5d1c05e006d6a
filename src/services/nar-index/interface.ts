import type { Node } from '../../model/castore/node.ts'
import type { Call } from '../../support/call.ts'

/** A NAR that was uploaded, as a file of a binary cache. */
export interface UploadedNar {
  /** Its contents in castore. */
  readonly node: Node
  /** SHA-256 of the NAR itself, 32 bytes. */
  readonly narSha256: Uint8Array
  /** Bytes of the NAR itself. */
  readonly narSize: bigint
  /** Bytes of the file: those of the NAR, unless it is compressed. */
  readonly fileSize: bigint
  /** By the suffix of the file, with its dot; empty for none. */
  readonly suffix: string
}

/** A narinfo that was uploaded before its NAR. */
export interface PendingNarInfo {
  /** 20 bytes, the beginning of the store path. Of each path one waits for each file, the latest. */
  readonly outputHash: Uint8Array
  /** SHA-256 of the file that it waits for, 32 bytes. */
  readonly awaited: Uint8Array
  readonly document: Uint8Array
  /** Milliseconds since 1970. */
  readonly storedAt: number
}

/**
 * What a binary cache knows of uploads beside path infos: which root node the NAR of a hash became, and which narinfos
 * wait for theirs (spec §7.3). Backends keep it durably or say that they do not.
 */
export interface NarIndex extends AsyncDisposable {
  /** Under the SHA-256 of the file, which is the NAR's own for one that is not compressed. */
  get(fileSha256: Uint8Array, call?: Call): Promise<UploadedNar | undefined>

  put(fileSha256: Uint8Array, nar: UploadedNar, call?: Call): Promise<void>

  /** Throws `exhausted`, naming the limit, when too many wait already. */
  addPending(pending: PendingNarInfo, call?: Call): Promise<void>

  /** Those that wait for a file. */
  pendingOf(fileSha256: Uint8Array, call?: Call): Promise<readonly PendingNarInfo[]>

  /** All that wait. */
  listPending(call?: Call): AsyncIterable<PendingNarInfo>

  removePending(pending: PendingNarInfo, call?: Call): Promise<void>
}
