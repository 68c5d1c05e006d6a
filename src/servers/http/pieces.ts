/** Streams of bytes on their way out. */

/** The same bytes; throws what `fault` makes of it as soon as they are more than `size`, or at the end when they are less. */
export async function* ofSize(
  source: AsyncIterable<Uint8Array>,
  size: number,
  fault: (what: string) => Error,
): AsyncGenerator<Uint8Array> {
  let left = size
  for await (const piece of source) {
    left -= piece.length
    if (left < 0) throw fault(`more than ${size} bytes`)
    yield piece
  }
  if (left > 0) throw fault(`${size - left} bytes instead of ${size}`)
}

/** The same pieces in groups of at least `bytes`, but for the last; none is empty. */
export async function* inGroups(
  source: AsyncIterable<Uint8Array>,
  bytes: number,
): AsyncGenerator<readonly Uint8Array[]> {
  let group: Uint8Array[] = []
  let length = 0
  for await (const piece of source) {
    group.push(piece)
    length += piece.length
    if (length < bytes) continue
    yield group
    group = []
    length = 0
  }
  if (length > 0) yield group
}
