import { hex, printable, utf8 } from '../../support/bytes.ts'
import { ValidationError } from '../castore/validation-error.ts'
import { printContentAddress } from './content-address.ts'
import { DERIVER_SUFFIX, type NarInfo, NO_COMPRESSION, UNKNOWN_DERIVER } from './narinfo.ts'
import { encodeNixbase32 } from './nixbase32.ts'
import { printSignature } from './signature.ts'

/**
 * The document of a narinfo, in the key order of spec §6.5; what `parseNarInfo` read without an unknown field
 * comes out byte for byte. Throws ValidationError `InvalidLine` for a value that holds a line break.
 */
export function renderNarInfo(info: NarInfo): string {
  const lines: string[] = []
  const add = (key: string, value: string | undefined) => {
    if (value !== undefined) lines.push(line(key, value))
  }
  add('StorePath', info.storePath.absolutePath)
  add('URL', info.url)
  if (!info.flags.has('compression-default')) add('Compression', info.compression ?? NO_COMPRESSION)
  add('FileHash', info.fileHash && `sha256:${encodeNixbase32(info.fileHash)}`)
  add('FileSize', info.fileSize?.toString())
  add('NarHash', narHash(info))
  add('NarSize', info.narSize.toString())
  if (!info.flags.has('references-missing')) add('References', info.references.join(' '))
  add('Deriver', deriver(info))
  add('System', info.system)
  for (const signature of info.signatures) add('Sig', printSignature(signature))
  add('CA', info.ca && printContentAddress(info.ca))
  return lines.join('')
}

function narHash(info: NarInfo): string {
  const digits = info.flags.has('nar-hash-hex') ? hex(info.narSha256) : encodeNixbase32(info.narSha256)
  return `sha256:${digits}`
}

function deriver(info: NarInfo): string | undefined {
  if (info.deriver) return `${info.deriver}${DERIVER_SUFFIX}`
  return info.flags.has('explicit-unknown-deriver') ? UNKNOWN_DERIVER : undefined
}

function line(key: string, value: string): string {
  // Key names and URLs come from strangers; a line break in one would let it write fields of its own.
  if (value.includes('\n'))
    throw new ValidationError('InvalidLine', `narinfo: ${key} "${printable(utf8(value))}" holds a line break`)
  return `${key}: ${value}\n`
}
