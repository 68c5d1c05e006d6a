/**
 * What `stat` shows as st_ino. It follows from content (files, symlinks) or place (directories), so that it
 * survives forgetting, remounting and another host. 64 bits, and so unique only for all practical purposes:
 * nothing of ours relies on it. The numbers the kernel uses come from `InodeTable`.
 */
import { blake3 } from '../../model/castore/blake3.ts'
import type { Node } from '../../model/castore/node.ts'
import { view } from '../../support/bytes.ts'
import type { Attributes } from './interface.ts'

export const ROOT_INO = 1n

/** Keeps a file, its executable twin and a symlink whose target is the file's contents apart (random numbers). */
const SALT = {
  file: 0n,
  executable: 0x8f1c_66d3_0b5e_92a7n,
  symlink: 0x35a9_4ed1_c27f_6048n,
  directory: 0xd2e0_7b84_691a_3cf5n,
} as const

/** `digest`: of the contents of a file, or of the target of a symlink. */
export function contentIno(digest: Uint8Array, kind: 'file' | 'executable' | 'symlink'): bigint {
  return salted(digest, SALT[kind])
}

/** A directory is its place: what holds it, and under which name. */
export function placeIno(parent: bigint, name: Uint8Array): bigint {
  const place = Buffer.allocUnsafe(8 + name.length)
  place.writeBigUInt64LE(parent)
  place.set(name, 8)
  return salted(blake3(place), SALT.directory)
}

/** The attributes of a node that has no inode. */
export function nodeAttributes(node: Node, parent: bigint, name: Uint8Array): Attributes {
  if (node.kind === 'symlink') {
    const ino = contentIno(blake3(node.target), 'symlink')
    return { ino, kind: 'symlink', size: BigInt(node.target.length), executable: false }
  }
  const { kind, size } = node
  if (kind === 'directory') return { ino: placeIno(parent, name), kind, size, executable: false }
  const ino = contentIno(node.digest.bytes, node.executable ? 'executable' : 'file')
  return { ino, kind, size, executable: node.executable }
}

/** Programs take 0 for "no inode", and 1 is the root. */
function salted(digest: Uint8Array, salt: bigint): bigint {
  const ino = view(digest).readBigUInt64LE() ^ salt
  return ino > ROOT_INO ? ino : ino + 2n
}
