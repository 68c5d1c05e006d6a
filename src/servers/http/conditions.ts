/** Conditional requests (RFC 9110 §13) over strong validators, which are all that this server hands out. */

/** Whether `If-None-Match` says that the client has this representation already. */
export function isKnown(header: string | undefined, tag: string | undefined): boolean {
  if (header === undefined || tag === undefined) return false
  if (header.trim() === '*') return true
  // Weak comparison, which this header asks for: `W/` says nothing.
  return header.split(',').some((each) => each.trim().replace(/^W\//, '') === quoted(tag))
}

/** Whether `If-Range` lets a range be served; a date never does, since nothing here has one. */
export function mayServeRange(header: string | undefined, tag: string | undefined): boolean {
  return header === undefined || (tag !== undefined && header.trim() === quoted(tag))
}

export function quoted(tag: string): string {
  return `"${tag}"`
}
