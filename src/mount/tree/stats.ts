/** Counts of one kind of thing that the mount needs from the store. */
export interface FetchStats {
  /** How often one was needed; each time it was in memory, joined, or fetched. */
  asked: number
  /** Answered from memory. */
  cached: number
  /** Joined a fetch that was on its way already. */
  joined: number
  /** Requests made to the store, read-ahead included, which nobody asked for. */
  fetched: number
  /** Bytes that those requests brought: contents of chunks, encoded directories. */
  fetchedBytes: number
  /** Bytes of chunks, or of encoded directories, answered from memory. */
  cachedBytes: number
  /** Requests that the store answered with an error, or not with what was asked for. */
  failed: number
}

export interface MountStats {
  /** Lookups of names at the root that could be store paths; `cached` while the kernel holds the path. */
  readonly rootLookups: FetchStats
  /** Listings of the whole root; no bytes. */
  readonly rootListings: FetchStats
  readonly directories: FetchStats
  /** Whole subtrees, fetched with one request each; the bytes of their directories. */
  readonly subtrees: FetchStats
  /** Lists of the chunks of a blob; no bytes. */
  readonly chunkLists: FetchStats
  /** Chunks, and small blobs as a whole. */
  readonly chunks: FetchStats
  /** The part of `chunks` that was fetched before it was asked for. */
  readonly readAhead: FetchStats
  /** Blobs that are files of this machine, to be passed through; `fetched` are those that had to be read to be trusted. */
  readonly localFiles: FetchStats
}

function createFetchStats(): FetchStats {
  return { asked: 0, cached: 0, joined: 0, fetched: 0, fetchedBytes: 0, cachedBytes: 0, failed: 0 }
}

export function createMountStats(): MountStats {
  return {
    rootLookups: createFetchStats(),
    rootListings: createFetchStats(),
    directories: createFetchStats(),
    subtrees: createFetchStats(),
    chunkLists: createFetchStats(),
    chunks: createFetchStats(),
    readAhead: createFetchStats(),
    localFiles: createFetchStats(),
  }
}

/** A copy as plain numbers, for JSON and for taking differences. */
export function mountStatsJson(stats: MountStats): Record<keyof MountStats, FetchStats> {
  return structuredClone(stats)
}

const ROWS: readonly (readonly [keyof MountStats, string])[] = [
  ['rootLookups', 'root lookups'],
  ['rootListings', 'root listings'],
  ['directories', 'directories'],
  ['subtrees', 'subtrees ahead'],
  ['chunkLists', 'chunk lists'],
  ['chunks', 'chunks'],
  ['readAhead', 'of these ahead'],
  ['localFiles', 'passed through'],
]

const COLUMNS: readonly (readonly [keyof FetchStats, string])[] = [
  ['asked', 'asked'],
  ['cached', 'from cache'],
  ['cachedBytes', 'bytes'],
  ['joined', 'joined'],
  ['fetched', 'fetched'],
  ['fetchedBytes', 'bytes'],
  ['failed', 'failed'],
]

/** The counts as lines of an aligned table, headings first. */
export function formatMountStats(stats: MountStats): string {
  const heading = ['', ...COLUMNS.map(([, title]) => title)]
  const rows = ROWS.map(([kind, title]) => [title, ...COLUMNS.map(([column]) => String(stats[kind][column]))])
  const table = [heading, ...rows]
  const widths = heading.map((_, column) => Math.max(...table.map((row) => row[column]!.length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join('  ')
  return table.map((row) => line(row).trimEnd()).join('\n')
}
