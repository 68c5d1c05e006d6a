// Checks that imports only point the way the house allows (docs/decisions.md, "The rooms"), and that no file
// imports itself by a detour. `npm run check:rooms`; CI fails on any finding.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const MODEL = [
  'src/model/castore',
  'src/model/nix',
  'src/model/nar',
  'src/model/tar',
  'src/model/wire',
  'src/support',
]
const SERVICES = [
  'src/services',
  'src/services/objects',
  'src/services/blobs',
  'src/services/directories',
  'src/services/pathinfos',
  'src/services/nar-index',
  'src/services/composition',
  ...MODEL,
]

/** Which rooms a room may import from, besides itself. A file belongs to the longest room its path begins with. */
const MAY_IMPORT = {
  'src/support': [],
  'src/model/castore': ['src/support'],
  'src/model/nix': ['src/model/castore', 'src/support'],
  'src/model/nar': ['src/model/castore', 'src/support'],
  'src/model/tar': ['src/model/castore', 'src/support'],
  'src/model/wire': ['src/model/castore', 'src/model/nix', 'src/support'],
  'src/model/wire/generated': [],
  'src/services': MODEL,
  'src/services/objects': ['src/services', 'src/support'],
  'src/services/blobs': ['src/services', 'src/services/objects', ...MODEL],
  'src/services/directories': ['src/services', 'src/services/objects', ...MODEL],
  'src/services/pathinfos': ['src/services', ...MODEL],
  'src/services/nar-index': ['src/services', ...MODEL],
  'src/services/composition': SERVICES,
  'src/transfer': SERVICES,
  'src/mount/tree': ['src/transfer', ...SERVICES],
  'src/mount/fuse': ['src/mount/tree', 'src/support'],
  'src/mount/virtiofs': ['src/mount/fuse', 'src/mount/tree', 'src/support'],
  'src/servers/listen': ['src/support'],
  'src/servers/grpc': ['src/servers/listen', 'src/transfer', ...SERVICES],
  'src/servers/http': ['src/servers/listen', 'src/transfer', ...SERVICES],
  'src/servers/metrics': ['src/servers/listen', 'src/support'],
  'src/cli': [
    'src/servers/listen',
    'src/servers/grpc',
    'src/servers/http',
    'src/servers/metrics',
    'src/mount/tree',
    'src/mount/fuse',
    'src/mount/virtiofs',
    'src/transfer',
    ...SERVICES,
  ],
}

/** The only room that sees what the protobuf compiler wrote. */
const GENERATED = 'src/model/wire/generated'
const GENERATED_READERS = ['src/model/wire']

const isBelow = (room, path) => path === room || path.startsWith(`${room}/`)

export function roomOf(path) {
  return Object.keys(MAY_IMPORT)
    .filter((room) => isBelow(room, path))
    .sort((a, b) => b.length - a.length)[0]
}

/** All findings for a map of file path → source text. Paths are relative to the repository. */
export function findViolations(files) {
  const imports = new Map([...files].map(([path, source]) => [path, importsOf(path, source)]))
  const violations = []
  for (const [path, targets] of imports)
    for (const target of targets) {
      const reason = forbidden(path, target)
      if (reason) violations.push(`${path} imports ${target}: ${reason}`)
    }
  return [...violations, ...findCycles(imports)]
}

function importsOf(path, source) {
  const targets = []
  for (const [, specifier] of source.matchAll(/^(?:import|export)\b[^'"]*?from\s+['"](\.[^'"]+)['"]/gms))
    targets.push(normalize(join(dirname(path), specifier)))
  for (const [, specifier] of source.matchAll(/\bimport\(\s*['"](\.[^'"]+)['"]\s*\)/g))
    targets.push(normalize(join(dirname(path), specifier)))
  return targets
}

function forbidden(path, target) {
  const from = roomOf(path)
  const to = roomOf(target)
  if (!from || !to) return 'a file outside every room'
  if (to === GENERATED)
    return GENERATED_READERS.includes(from) || from === to
      ? undefined
      : 'generated code stays inside model/wire'
  if (from === to || MAY_IMPORT[from].includes(to)) return undefined
  return `${from} may not know ${to}`
}

function findCycles(imports) {
  const cycles = []
  const done = new Set()
  const visit = (path, trail) => {
    const at = trail.indexOf(path)
    if (at >= 0) return void cycles.push(`import cycle: ${[...trail.slice(at), path].join(' → ')}`)
    if (done.has(path)) return
    for (const target of imports.get(path) ?? []) visit(target, [...trail, path])
    done.add(path)
  }
  for (const path of imports.keys()) visit(path, [])
  return cycles
}

function sourceFiles(root) {
  const names = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
  return new Map(
    names
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts'))
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [relative(root, path), readFileSync(path, 'utf8')]),
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = sourceFiles(join(dirname(fileURLToPath(import.meta.url)), '..'))
  const violations = findViolations(files)
  for (const violation of violations) console.error(violation)
  console.log(`rooms: ${files.size} files, ${violations.length} violations`)
  process.exitCode = violations.length > 0 ? 1 : 0
}
