import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { inheritedSockets } from '../../../../src/servers/listen/socket-activation.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const SOURCES = join(import.meta.dirname, '../../../../src')

describe('the variables', () => {
  const PID = 4711
  const passed = { LISTEN_PID: String(PID), LISTEN_FDS: '2', LISTEN_FDNAMES: 'a:b' }
  test.each([
    ['none', undefined, {}, /no sockets were passed to this process \(LISTEN_PID=, LISTEN_FDS=\)/],
    ['for another process', '*', { ...passed, LISTEN_PID: '1' }, /no sockets were passed/],
    ['no number', '*', { ...passed, LISTEN_FDS: 'two' }, /no sockets were passed/],
    ['no such name', 'c', passed, /none of the sockets passed is named so \(LISTEN_FDNAMES=a:b\)/],
    ['no names', 'a', { ...passed, LISTEN_FDNAMES: undefined }, /none of the sockets passed/],
  ])('%s', (_, selection, environment, message) => {
    const activation = { environment, pid: PID, ignoreEnvironment: false }
    expect(() => inheritedSockets(selection, activation)).toThrow(message)
  })

  test('a descriptor that is no socket is named', () => {
    // Beyond what this process may have open.
    const environment = { LISTEN_PID: String(PID), LISTEN_FDS: '99999' }
    const activation = { environment, pid: PID, ignoreEnvironment: false }
    expect(() => inheritedSockets('*', activation)).toThrow(/descriptor [0-9]+ is no socket/)
  })
})

describe('a process that got sockets', () => {
  /** Starts a listener in a child with two sockets of ours as descriptors 3 and 4; what it said of them. */
  async function inChild(address: string, names: string, ignore = false): Promise<unknown> {
    await using dir = await tempDir()
    const servers = [createServer().listen(0, '127.0.0.1'), createServer().listen(`${dir.path}/socket`)]
    await Promise.all(servers.map((server) => once(server, 'listening')))
    const script = `
      import { parseListenAddress } from '${SOURCES}/servers/listen/listen-address.ts'
      import { startListeners } from '${SOURCES}/servers/listen/listener.ts'
      if (!${ignore}) process.env.LISTEN_PID = String(process.pid)
      const settings = { ignoreActivationEnvironment: ${ignore} }
      const endpoint = parseListenAddress(${JSON.stringify(address)})
      const listeners = await startListeners(endpoint, settings, { onSocket() {}, onError() {} })
      console.log(JSON.stringify(listeners.map(({ address, isTcp }) => ({ address, isTcp }))))
      process.exit()`
    const env = ignore ? {} : { LISTEN_FDS: '2', LISTEN_FDNAMES: names }
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit', ...servers.map(descriptor)],
      env: { ...process.env, ...env },
    })
    let output = ''
    child.stdout!.on('data', (data) => {
      output += data
    })
    await once(child, 'close')
    const { port } = servers[0]!.address() as { port: number }
    for (const server of servers) server.close()
    return JSON.parse(output.replaceAll(`127.0.0.1:${port}`, 'TCP'))
  }

  const TCP = { address: 'TCP', isTcp: true }
  const UNIX = { address: 'sd-listen (descriptor 4)', isTcp: false }

  test.each([
    ['sd-listen', 'a:b', [TCP]],
    ['sd-listen:*', 'a:b', [TCP, UNIX]],
    ['sd-listen:b', 'a:b', [UNIX]],
    ['sd-listen:b', 'b:b', [TCP, UNIX]],
  ])('%s of %s', async (address, names, listeners) => {
    expect(await inChild(address, names)).toEqual(listeners)
  })

  test('without the variables, if it is told so', async () => {
    expect(await inChild('sd-listen', '', true)).toEqual([TCP])
  })
})

/** For `stdio` of a child. */
function descriptor(server: Server): number {
  return (server as unknown as { _handle: { fd: number } })._handle.fd
}
