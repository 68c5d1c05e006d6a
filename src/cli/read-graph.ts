import { isUtf8 } from 'node:buffer'
import {
  type PathMetadata,
  parseReferenceGraph,
  parseReferenceGraphEntry,
} from '../model/nix/reference-graph.ts'
import { concatBytes, view } from '../support/bytes.ts'
import { StoreError } from '../support/errors.ts'
import { COPY_PATHS_MAX, REFERENCE_GRAPH_BYTES_MAX } from '../support/limits.ts'

/** A reference graph: one JSON document, or one path a line. `source` names it in messages. */
export async function readGraph(
  input: AsyncIterable<Uint8Array>,
  { jsonl, source }: { readonly jsonl: boolean; readonly source: string },
): Promise<PathMetadata[]> {
  const text = await readText(input, source)
  if (!jsonl) return parseReferenceGraph(parseJson(text, source))
  const lines = text
    .split('\n')
    .flatMap((line, i) => (line.trim() === '' ? [] : [{ line, where: `line ${i + 1}` }]))
  if (lines.length > COPY_PATHS_MAX) throw tooLarge(source, `${COPY_PATHS_MAX} lines`)
  return lines.map(({ line, where }) =>
    parseReferenceGraphEntry(parseJson(line, `${where} of ${source}`), where),
  )
}

async function readText(input: AsyncIterable<Uint8Array>, source: string): Promise<string> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of input) {
    size += piece.length
    if (size > REFERENCE_GRAPH_BYTES_MAX) throw tooLarge(source, `${REFERENCE_GRAPH_BYTES_MAX} bytes`)
    pieces.push(piece)
  }
  const bytes = concatBytes(pieces, size)
  if (!isUtf8(bytes)) throw new StoreError('invalid-argument', `${source} is not UTF-8, and JSON has to be`)
  return view(bytes).toString('utf8')
}

function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new StoreError('invalid-argument', `${source} is not JSON: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

function tooLarge(source: string, limit: string): StoreError {
  return new StoreError('exhausted', `${source} has more than ${limit}`)
}
