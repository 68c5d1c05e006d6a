/**
 * Cuts a zstd stream (RFC 8878 §3.1) where its frames end. Node's decoder takes up a new frame only with a new piece and
 * drops what else is in the piece in which one ended.
 */

const FRAME_MAGIC = 0xfd2fb528
/** The lower 4 bits are the writer's. */
const SKIPPABLE_MAGIC = 0x184d2a50
const RLE_BLOCK = 1

/** What the bytes that come next are; `garbage` to the end of the stream, which the decoder complains about. */
type State = 'magic' | 'skippable-size' | 'descriptor' | 'block' | 'garbage'

const FIELD_BYTES: Readonly<Record<Exclude<State, 'garbage'>, number>> = {
  magic: 4,
  'skippable-size': 4,
  descriptor: 1,
  block: 3,
}

export async function* cutAtFrameEnds(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const frames = new FrameWalk()
  for await (const piece of source) {
    let start = 0
    for (const end of frames.ends(piece)) {
      yield piece.subarray(start, end)
      start = end
    }
    if (start < piece.length) yield piece.subarray(start)
  }
}

class FrameWalk {
  #state: State = 'magic'
  /** The field that is being read, little endian, and how much of it has come. */
  #field = 0
  #fieldBytes = 0
  /** Bytes without interest before the next field. */
  #skip = 0
  #checksumBytes = 0
  #isLast = false

  /** Where in the piece a frame ends. */
  ends(piece: Uint8Array): number[] {
    const ends: number[] = []
    let at = 0
    while (at < piece.length && this.#state !== 'garbage') {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, piece.length - at)
        this.#skip -= skipped
        at += skipped
      } else {
        this.#field += piece[at++]! * 256 ** this.#fieldBytes++
        if (this.#fieldBytes === FIELD_BYTES[this.#state]) this.#decide(this.#state)
      }
      if (this.#skip === 0 && this.#isLast) {
        this.#isLast = false
        ends.push(at)
      }
    }
    return ends
  }

  #decide(state: Exclude<State, 'garbage'>): void {
    const field = this.#field
    this.#field = 0
    this.#fieldBytes = 0
    switch (state) {
      case 'magic':
        if (field === FRAME_MAGIC) this.#state = 'descriptor'
        else this.#state = field - (field % 16) === SKIPPABLE_MAGIC ? 'skippable-size' : 'garbage'
        break
      case 'skippable-size':
        this.#endWith(field)
        break
      case 'descriptor':
        this.#skip = headerBytes(field)
        this.#checksumBytes = (field & 0x04) !== 0 ? 4 : 0
        this.#state = 'block'
        break
      case 'block':
        this.#block((field & 1) !== 0, (field >>> 1) & 3, field >>> 3)
    }
  }

  #block(isLast: boolean, type: number, size: number): void {
    this.#skip = type === RLE_BLOCK ? 1 : size
    if (isLast) this.#endWith(this.#skip + this.#checksumBytes)
  }

  #endWith(bytes: number): void {
    this.#skip = bytes
    this.#isLast = true
    this.#state = 'magic'
  }
}

/** Of the frame header behind its descriptor: window, dictionary, size of the contents. */
function headerBytes(descriptor: number): number {
  const isSingleSegment = (descriptor & 0x20) !== 0
  const sizeFlag = descriptor >>> 6
  const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 1 << sizeFlag
  return (isSingleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]! + sizeBytes
}
