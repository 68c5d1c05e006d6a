import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { StorePath } from '../../src/model/nix/store-path.ts'
import { runOk } from './cli.ts'
import { makeSourceTree } from './source-tree.ts'

/** A Nix store of a test's own, as real Nix keeps it, and how to talk about it. */
export interface NixStore {
  /** The folder that its `/nix/store` is below: `local?root=`. */
  readonly root: string
  /** The options that make Nix use it. */
  readonly flags: readonly string[]
}

export interface NixClosure extends NixStore {
  /** References are: library ← tool; library, tool and itself ← app, which is a large tree. */
  readonly library: string
  readonly tool: string
  readonly app: string
  readonly deriver: string
}

export function nixStore(root: string): NixStore {
  return {
    root,
    flags: [
      '--store',
      `local?root=${root}`,
      '--option',
      'substitute',
      'false',
      '--option',
      'build-users-group',
      '',
    ],
  }
}

/** `nix` with the commands that 2.8 calls experimental. */
export function nix(...args: string[]): Promise<string> {
  return runOk('nix', ['--extra-experimental-features', 'nix-command', ...args])
}

/** Input-addressed paths that refer to each other, with a deriver, in a store below `folder`. */
export async function makeNixClosure(folder: string): Promise<NixClosure> {
  const store = nixStore(join(folder, 'nix-root'))
  const path = (label: string) => StorePath.fromParts(Buffer.alloc(20, label), label).absolutePath
  const [library, tool, app] = [path('library'), path('tool'), path('app')]
  const deriver = `${path('app-derivation')}.drv`
  const trees = join(folder, 'trees')
  await mkdir(trees, { recursive: true })
  await writeFile(join(trees, 'library'), 'a library\n')
  await writeFile(join(trees, 'tool'), `needs ${library}\n`)
  makeSourceTree(join(trees, 'app'))
  await writeFile(join(trees, 'app/needs'), `${library} ${tool} ${app}\n`)
  await addToNix(store, join(trees, 'library'), { path: library, references: [], deriver: '' })
  await addToNix(store, join(trees, 'tool'), { path: tool, references: [library], deriver: '' })
  await addToNix(store, join(trees, 'app'), { path: app, references: [library, tool, app].sort(), deriver })
  return { ...store, library, tool, app, deriver }
}

/** Adds a tree under any path with any references, as `nix-store --export` of it would have been imported. */
async function addToNix(
  store: NixStore,
  tree: string,
  { path, references, deriver }: { path: string; references: readonly string[]; deriver: string },
): Promise<void> {
  const child = spawn('nix-store', [...store.flags, '--import'], { stdio: ['pipe', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  child.stdin.write(number(1))
  const dump = spawn('nix-store', ['--dump', tree], { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const piece of dump.stdout) if (!child.stdin.write(piece)) await once(child.stdin, 'drain')
  const exited = once(child, 'exit')
  child.stdin.end(
    Buffer.concat([
      number(0x4558494e), // what nix-store --export puts between NAR and metadata
      text(path),
      number(references.length),
      ...references.map(text),
      text(deriver),
      number(0),
      number(0),
    ]),
  )
  const [code] = await exited
  if (code !== 0) throw new Error(`nix-store --import: ${stderr}`)
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([number(bytes.length), bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)])
}
