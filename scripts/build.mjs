// Builds dist/ for the published package, since Node strips no types below node_modules: the sources and the packages that
// are plain JavaScript become fewer files, because a process that starts spends most of its time with finding and reading
// many. What a command imports when it needs it stays a file of its own, and so do the packages that it needs.
import { readFileSync, rmSync } from 'node:fs'
import { relative } from 'node:path'
import { build } from 'esbuild'

/** Packages that are bundled. The others bring binaries or load their own files, or belong to commands that may wait. */
const BUNDLED = new Set(['@bufbuild/protobuf', 'commander', 'lru-cache', 'smol-toml'])

const packageOf = (path) => path.split('/', path.startsWith('@') ? 2 : 1).join('/')

const externalPackages = {
  name: 'external packages',
  setup({ onResolve }) {
    onResolve({ filter: /^[^./]/ }, ({ path, importer, kind }) => {
      if (kind === 'entry-point' || path.startsWith('node:')) return undefined
      const isOurs = !importer.includes('/node_modules/')
      return isOurs && !BUNDLED.has(packageOf(path)) ? { path, external: true } : undefined
    })
  },
}

/** A module that looks for files beside itself finds them from the folder of the bundle, too. */
const ownUrls = {
  name: 'own urls',
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8')
      if (!text.includes('import.meta.url')) return undefined
      const own = JSON.stringify(`../${relative('src', path)}`)
      return {
        loader: 'ts',
        contents: text.replaceAll('import.meta.url', `new URL(${own}, import.meta.url)`),
      }
    })
  },
}

/** The rest of the program is a module of its own, since only what is imported later is kept compiled. */
const program = {
  name: 'program',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/program\.ts$/ }, () => ({ path: './program.js', external: true }))
  },
}

rmSync('dist', { recursive: true, force: true })
await build({
  entryPoints: { 'cli/main': 'src/cli/main.ts', 'cli/program': 'src/cli/program.ts' },
  outdir: 'dist',
  bundle: true,
  splitting: true,
  chunkNames: 'cli/[name]-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node24',
  // Names of functions and lines are for whoever reads a stack trace.
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: 'linked',
  sourcesContent: false,
  plugins: [program, externalPackages, ownUrls],
  // For the packages that are written in CommonJS.
  banner: {
    js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);",
  },
  logLevel: 'warning',
})
