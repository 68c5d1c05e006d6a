import { Digest } from '../../model/castore/digest.ts'
import type { Node } from '../../model/castore/node.ts'
import { utf8, view } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { compressed } from '../../support/compress.ts'
import type { Compression } from '../../support/decompress.ts'
import { StoreError } from '../../support/errors.ts'
import { openNar } from '../../transfer/nar-reader.ts'
import { type Contents, narRooms, renderNar } from '../../transfer/render-nar.ts'
import type { ByteRange, Content } from './exchange.ts'
import { Refusal } from './fault-reply.ts'
import { encodeNode } from './nar-url.ts'
import { ofSize } from './pieces.ts'

/** The bytes follow from the URL, so they never change. */
const FOR_EVER = 'max-age=31536000, immutable'
const NAR = 'application/x-nix-nar'

/** The NAR of a node, of which somebody said that it has `narSize` bytes. Only reading it consults the store. */
export function narContent(services: Contents, node: Node, narSize: number, call: Call): Content {
  return {
    type: NAR,
    size: narSize,
    tag: tagOf(node),
    cacheControl: FOR_EVER,
    hasRanges: true,
    isCompressible: true,
    read: (range) =>
      blamingRoot(
        services,
        node,
        call,
        range ? partOf(services, node, narSize, range, call) : wholeOf(services, node, narSize, call),
      ),
    giveBack: (piece) => narRooms.giveBack(piece),
  }
}

/** The same, as a file of a cache that keeps NARs compressed. Its bytes may differ from what was uploaded. */
export function compressedNarContent(
  services: Contents,
  node: Node,
  compression: Compression,
  call: Call,
): Content {
  const read = () => compressed(renderNar(services, node, call), compression, call)
  return { type: NAR, size: undefined, cacheControl: 'no-cache', read }
}

/** A strong validator for what follows from a node and nothing else. */
export function tagOf(node: Node): string {
  return view(Digest.of(utf8(encodeNode(node))).bytes).toString('base64url')
}

/** Whether the root of the tree is stored, and with it, since it was stored last, all of it. */
export async function hasRoot({ blobs, directories }: Contents, node: Node, call: Call): Promise<boolean> {
  if (node.kind === 'directory') return (await directories.get(node.digest, call)) !== undefined
  return node.kind === 'symlink' || (await blobs.has(node.digest, call))
}

async function* blamingRoot(
  services: Contents,
  node: Node,
  call: Call,
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* pieces
  } catch (error) {
    // Something below the root that is missing is damage; without a root there is nothing.
    if (StoreError.from(error).code === 'corrupt' && !(await hasRoot(services, node, call)))
      throw new Refusal(404, 'the root node is not in the store')
    throw error
  }
}

function wholeOf(services: Contents, node: Node, narSize: number, call: Call): AsyncIterable<Uint8Array> {
  return ofSize(renderNar(services, node, call), narSize, wrongSize)
}

async function* partOf(
  services: Contents,
  node: Node,
  narSize: number,
  range: ByteRange,
  call: Call,
): AsyncGenerator<Uint8Array> {
  const nar = await openNar(services, node, call)
  if (nar.size !== narSize) throw wrongSize(`${nar.size} bytes instead of ${narSize}`)
  yield* nar.read(range)
}

function wrongSize(what: string): Refusal {
  return new Refusal(400, `narsize is wrong: the NAR has ${what}`)
}
