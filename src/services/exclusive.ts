import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { StoreError, systemCode } from '../support/errors.ts'

/**
 * Makes sure that this process is the only one that uses a file, until the result is disposed of or the process ends,
 * however it does: a name among the abstract sockets of the kernel (unix(7)), which no crash leaves behind. Processes
 * in other network namespaces are not seen. Throws `precondition` when another one has it.
 */
export async function holdExclusively(path: string): Promise<AsyncDisposable> {
  const { dev, ino } = await stat(path)
  const server = createServer((socket) => socket.destroy())
  server.listen(`\0tvix-store-exclusive-${dev}-${ino}`)
  try {
    await once(server, 'listening')
  } catch (error) {
    if (systemCode(error) !== 'EADDRINUSE') throw error
    throw new StoreError(
      'precondition',
      `${path} is in use by another process; give this one a file of its own`,
    )
  }
  server.unref()
  return {
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  }
}
