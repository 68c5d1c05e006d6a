/** Bytes in the small: comparing, joining, printing. Strings never stand in for bytes. */

/** memcmp order: bytewise, the shorter of two with a common prefix first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b)
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0
}

export function concatBytes(parts: readonly Uint8Array[], length?: number): Uint8Array<ArrayBuffer> {
  const total = length ?? parts.reduce((sum, part) => sum + part.length, 0)
  // Large ones without the zeros that nobody would see.
  const joined = total < 4_096 ? new Uint8Array(total) : new Uint8Array(Buffer.allocUnsafeSlow(total).buffer)
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

/**
 * The same bytes, in memory of their own unless they fill most of what they lie in. What is kept for long must not
 * be a small view that keeps a large network buffer alive.
 */
export function compact(bytes: Uint8Array): Uint8Array {
  // Not `slice`: that of a Buffer is a view, too.
  return bytes.buffer.byteLength <= 2 * bytes.length ? bytes : new Uint8Array(bytes)
}

export function hex(bytes: Uint8Array): string {
  return view(bytes).toString('hex')
}

export function utf8(text: string): Uint8Array {
  return Buffer.from(text, 'utf8')
}

/** The same memory as a Buffer. */
export function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Bytes as one line for a person: printable ASCII and well-formed UTF-8 stay, every other byte becomes `\xNN`.
 * Names come from strangers; raw control bytes would let them write to the terminal and the log,
 * and a change of writing direction would let a name look like another.
 */
export function printable(bytes: Uint8Array): string {
  // Nearly always; and the expression below takes V8 a fifth of a millisecond to compile, while a mount has others to serve.
  if (bytes.every(isPlain)) return view(bytes).toString('latin1')
  const text = view(bytes).toString('utf8')
  const wellFormed = !text.includes('\ufffd')
  if (wellFormed) {
    return text.replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, escapeCharacter)
  }
  let out = ''
  for (const byte of bytes) out += isPlain(byte) ? String.fromCharCode(byte) : escapeByte(byte)
  return out
}

function isPlain(byte: number): boolean {
  return byte >= 0x20 && byte < 0x7f
}

function escapeCharacter(character: string): string {
  return [...Buffer.from(character, 'utf8')].map(escapeByte).join('')
}

function escapeByte(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`
}
