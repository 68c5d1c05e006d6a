/**
 * Looking into a store: `ls`, `cat`, `path-info`, `export-nar`, and `import-nar` and `key`, held against what real Nix
 * says of the same paths.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { localStoreFlags, run, runOk, TVIX_STORE } from '../support/cli.ts'
import { makeNixClosure, type NixClosure, nix } from '../support/nix-closure.ts'
import { HAS_NIX, hasProgram } from '../support/requirements.ts'

let folder: string
let source: NixClosure
let flags: string[]

beforeAll(async () => {
  if (!HAS_NIX) return
  folder = await mkdtemp(join(tmpdir(), 'tvix-store-inspect-'))
  source = await makeNixClosure(folder)
  flags = localStoreFlags(join(folder, 'store'))
  await store('copy', '--from', 'local', '--root', source.root, source.app)
}, 60_000)

afterAll(async () => {
  if (!HAS_NIX) return
  await runOk('chmod', ['-R', 'u+w', folder])
  await rm(folder, { recursive: true, force: true })
})

function store(command: string, ...args: string[]): Promise<string> {
  return runOk(TVIX_STORE, [command, ...flags, ...args])
}

describe.skipIf(!HAS_NIX)('looking into a store', { timeout: 60_000 }, () => {
  test.each([[['-l']], [['-R']], [['-l', '-d']]])('ls %j as nix store ls', async (options) => {
    for (const inner of ['', '/script']) {
      const ours = await store('ls', ...options, source.app + inner)
      const theirs = await nix('store', 'ls', ...source.flags, ...options, source.app + inner)
      expect(lines(ours).filter(isText)).toEqual(lines(theirs).filter(isText))
    }
  })

  test('ls --json as nix store ls --json', async () => {
    for (const path of [`${source.app}/deep`, source.library])
      for (const options of [['--json'], ['--json', '-R']])
        expect(JSON.parse(await store('ls', ...options, path))).toEqual(
          JSON.parse(await nix('store', 'ls', ...source.flags, ...options, path)),
        )
  })

  test('ls --json refuses names that JSON cannot hold', async () => {
    const { code, stderr } = await run(TVIX_STORE, ['ls', ...flags, '--json', source.app])
    expect({ code, stderr }).toMatchObject({ code: 64, stderr: expect.stringContaining('is not UTF-8') })
  })

  test('cat, through symlinks, byte for byte', async () => {
    expect(await store('cat', `${source.app}/link/and/deeper/file`)).toBe('contents\n')
    expect(await store('cat', source.library)).toBe('a library\n')
    await runOk('sh', [
      '-c',
      `"$0" "$@" | cmp - ${source.root}${source.app}/large`,
      ...[TVIX_STORE, 'cat', ...flags, `${source.app}/large`],
    ])
  })

  test('a reader that leaves early is no failure', async () => {
    const script = 'set -o pipefail; "$0" "$@" | head -c 10 | wc -c'
    for (const args of [
      ['cat', `${source.app}/large`],
      ['export-nar', source.app],
      ['ls', '-lR', source.app],
    ]) {
      const { stdout, stderr, code } = await run('bash', ['-c', script, TVIX_STORE, ...args, ...flags])
      expect({ code, stderr, stdout: stdout.trim() }).toEqual({ code: 0, stderr: '', stdout: '10' })
    }
  })

  test.each([
    [['cat', '/nope'], 66, /there is no "nope" in/],
    [['cat', ''], 64, /is a directory; `tvix-store ls/],
    [['cat', '/dangling'], 66, /\/nowhere is not in \/nix\/store/],
    [['ls', '/file/x'], 66, /file is a file and no directory/],
  ] as const)('%s', async ([command, inner], code, message) => {
    const result = await run(TVIX_STORE, [command, ...flags, source.app + inner])
    expect(result).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(message) })
  })

  test('path-info --json as nix path-info --json, and it feeds copy --jsonl', async () => {
    const printed = lines(await store('path-info', '--json', '--closure', source.app))
    const ours = printed.map((line) => JSON.parse(line))
    const theirs = JSON.parse(await nix('path-info', ...source.flags, '--json', '-r', source.app))
    for (const info of theirs) {
      const { root, ...own } = ours.find(({ path }) => path === info.path)
      const { registrationTime: _, ...rest } = info
      expect(own).toEqual({ signatures: [], ...rest })
      expect(root.type).toMatch(/file|directory/)
    }
    expect(ours).toHaveLength(theirs.length)
    await writeFile(join(folder, 'lines'), printed.join('\n'))
    const other = localStoreFlags(join(folder, 'other'))
    await runOk(TVIX_STORE, ['copy', '--jsonl', '--root', source.root, ...other, join(folder, 'lines')])
    expect(lines(await runOk(TVIX_STORE, ['path-info', '--all', ...other])).sort()).toEqual(
      [source.app, source.library, source.tool].sort(),
    )
  })

  test('path-info for people', async () => {
    const printed = await store('path-info', source.app)
    expect(printed).toContain(`${source.app}\n  root:            directory b3:`)
    expect(printed).toContain(`  deriver:         ${source.deriver}\n`)
    expect(printed).toContain('  content address: none\n')
  })

  test('export-nar writes what nix-store --dump writes, and never half a file', async () => {
    const output = join(folder, 'app.nar')
    await store('export-nar', '--output', output, source.app)
    const dump = join(folder, 'dump.nar')
    await runOk('sh', ['-c', `nix-store --dump ${source.root}${source.app} > ${dump}`])
    await runOk('cmp', [output, dump])
    await runOk('sh', ['-c', `"$0" "$@" | cmp - ${dump}`, TVIX_STORE, 'export-nar', ...flags, source.app])
    const { code, stderr } = await run(TVIX_STORE, [
      'export-nar',
      ...flags,
      '-o',
      '/no/such/folder/x',
      source.app,
    ])
    expect({ code, stderr }).toMatchObject({ code: 73, stderr: expect.stringContaining('/no/such/folder/x') })
  })

  test.skipIf(!hasProgram('script'))('export-nar refuses a terminal', async () => {
    const command = [TVIX_STORE, 'export-nar', ...flags, source.app].join(' ')
    const { stdout } = await run('script', ['-qec', command, '/dev/null'])
    expect(stdout).toContain('a NAR is no text for a terminal')
    expect(stdout.length).toBeLessThan(1000)
  })

  test('import-nar of every compression, and of standard input, in the order of the arguments', async () => {
    const nar = join(folder, 'tree.nar')
    const tree = join(folder, 'trees/app')
    await runOk('sh', ['-c', `nix-store --dump ${tree} > ${nar}`])
    await runOk('sh', ['-c', `nix-store --dump ${join(folder, 'trees/tool')} > ${nar}-tool`])
    const inputs = [`${nar}-tool`, nar]
    for (const program of ['gzip', 'bzip2', 'xz', 'zstd']) {
      if (!hasProgram(program)) continue
      await runOk('sh', ['-c', `${program} -c ${nar} > ${nar}.${program}`])
      inputs.push(`${nar}.${program}`)
    }
    const nodes = lines(await store('import-nar', ...inputs)).map((line) => JSON.parse(line))
    expect(nodes[0]).toMatchObject({ type: 'file', executable: false })
    expect(nodes[1]).toMatchObject({ type: 'directory', digest: expect.stringMatching(/^blake3-/) })
    for (const node of nodes.slice(2)) expect(node).toEqual(nodes[1])

    const script = `"$0" "$@" - < ${nar}`
    const encoded = await runOk('sh', [
      '-c',
      script,
      TVIX_STORE,
      'import-nar',
      ...flags,
      '--format',
      'base64',
    ])
    const url = (await store('import-nar', '--format', 'urlsafe-base64', nar)).trim()
    expect(Buffer.from(url, 'base64url').equals(Buffer.from(encoded.trim(), 'base64'))).toBe(true)
    expect(url).toMatch(/^[A-Za-z0-9_-]+$/)

    const added = (await runOk('nix-store', [...source.flags, '--add', tree])).trim()
    expect((await store('import-nar', '--name', 'app', `${nar}.zstd`)).trim()).toBe(added)
    expect(await store('cat', `${added}/file`)).toBe('contents\n')
  })

  test('import-nar: what is no NAR, breaks off, or goes on', async () => {
    const nar = await readFile(join(folder, 'app.nar'))
    const cases = { text: Buffer.from('text'), cut: nar.subarray(0, -8), longer: Buffer.concat([nar, nar]) }
    for (const [name, bytes] of Object.entries(cases)) {
      const path = join(folder, name)
      await writeFile(path, bytes)
      const { code, stdout, stderr } = await run(TVIX_STORE, ['import-nar', ...flags, path])
      expect({ code, stdout, stderr }).toMatchObject({
        code: 64,
        stdout: '',
        stderr: expect.stringContaining(path),
      })
    }
    const missing = await run(TVIX_STORE, ['import-nar', ...flags, '/no/such/nar'])
    expect(missing).toMatchObject({ code: 66, stderr: expect.stringContaining('/no/such/nar') })
  })

  test('keys: Nix signs with ours and verifies, and we tell the public half of those of Nix', async () => {
    const secret = join(folder, 'ours')
    const publicKey = join(folder, 'ours.pub')
    await runOk(TVIX_STORE, ['key', 'generate', 'ours-1', '--output', secret, '--public', publicKey])
    expect((await stat(secret)).mode & 0o777).toBe(0o400)
    await nix('store', 'sign', ...source.flags, '-k', secret, '-r', source.app)
    const trusted = (await readFile(publicKey, 'utf8')).trim()
    const verify = (...keys: string[]) =>
      run('nix', [
        ...['--extra-experimental-features', 'nix-command', 'store', 'verify', ...source.flags],
        ...['--no-contents', '-r', '--option', 'trusted-public-keys', keys.join(' '), source.app],
      ])
    expect((await verify(trusted)).code).toBe(0)
    const other = await runOk(TVIX_STORE, ['key', 'generate', 'ours-1'])
    await writeFile(join(folder, 'stranger'), other)
    const stranger = (await runOk(TVIX_STORE, ['key', 'public', join(folder, 'stranger')])).trim()
    expect((await verify(stranger)).code).not.toBe(0)

    const theirs = await nix('key', 'generate-secret', '--key-name', 'theirs-1')
    await writeFile(join(folder, 'theirs'), theirs)
    const converted = await runOk('sh', [
      '-c',
      `nix --extra-experimental-features nix-command key convert-secret-to-public < ${join(folder, 'theirs')}`,
    ])
    expect((await runOk(TVIX_STORE, ['key', 'public', join(folder, 'theirs')])).trim()).toBe(converted.trim())

    const again = await run(TVIX_STORE, ['key', 'generate', 'x', '--output', secret])
    expect(again).toMatchObject({ code: 73, stderr: expect.stringContaining('keys are not overwritten') })
  })

  test('a slow reader holds up what it reads', async () => {
    const child = spawn(TVIX_STORE, ['cat', ...flags, `${source.app}/large`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const file = await open(join(source.root, source.app, 'large'))
    let size = 0
    for await (const piece of child.stdout) size += (piece as Buffer).length
    expect(size).toBe((await file.stat()).size)
    await file.close()
    if (child.exitCode === null) await once(child, 'exit')
    expect(child.exitCode).toBe(0)
  })
})

function lines(text: string): string[] {
  return text.trimEnd().split('\n')
}

/** Nix writes names as they are, we escape what a terminal would obey. */
function isText(line: string): boolean {
  return /^[ -~]*$/.test(line) && !/\\x|^A/.test(line)
}
