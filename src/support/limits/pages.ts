/** Pages for people. */
import { KiB, MiB } from './units.ts'

/** Paths in one table of the overview, and entries of a directory on one page. */
export const PAGES_ROWS = 100
export const PAGES_ENTRIES = 1_000
/** References shown on the page of a path; the narinfo has all. */
export const PAGES_REFERENCES_MAX = 500
/** Names that the overview keeps in memory, in paths … */
export const PAGES_INDEX_PATHS_MAX = 2_000_000
/** … and bytes of names, which is what bounds it when names are long. While it is read again it is there twice. */
export const PAGES_INDEX_BYTES_MAX = 128 * MiB
/** A listing that takes longer is given up. */
export const PAGES_INDEX_MS_MAX = 600_000
/** A listing is read again after this many times as long as reading it took, and no sooner than … */
export const PAGES_INDEX_REST = 20
export const PAGES_INDEX_REST_MS_MIN = 1_000
/** A request waits this long for a listing that is being read, and then shows what is known … */
export const PAGES_INDEX_WAIT_MS = 20
/** … or this long, when nothing is known yet. */
export const PAGES_INDEX_FIRST_WAIT_MS = 250
/** Work on the names of all paths gets out of the way of other requests after this long. */
export const PAGES_TURN_MS_MAX = 3
/** Words of a search, and characters; more are ignored. */
export const PAGES_SEARCH_WORDS_MAX = 8
export const PAGES_SEARCH_CHARACTERS_MAX = 300
/** Searches and walks through references that are done at the same time; more wait for their turn. */
export const PAGES_WALKS_MAX = 4
/** A closure on the page of a path ends after so many paths or so long, with what is known then … */
export const PAGES_CLOSURE_GLANCE_PATHS_MAX = 1_000
export const PAGES_CLOSURE_GLANCE_MS_MAX = 50
/** … and on a page of its own here. */
export const PAGES_CLOSURE_PATHS_MAX = 20_000
export const PAGES_CLOSURE_MS_MAX = 10_000
/** Path infos of a closure that are asked for at the same time. */
export const PAGES_CLOSURE_GETS_MAX = 32
/** Text files up to this size are shown. */
export const PAGES_TEXT_BYTES_MAX = 256 * KiB
/** Every other wait of a page for the store. */
export const PAGES_CALL_MS_MAX = 30_000
