import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openWriteQueue } from '../../../src/services/write-queue.ts'
import { tempDir } from '../../support/temp-dir.ts'

it('sends what became ready at whatever moment the queue looked for something to send', async () => {
  await using folder = await tempDir()
  // The moments lie between two steps of one turn of the event loop.
  for (let steps = 0; steps < 24; steps++) {
    await using queue = await openWriteQueue(join(folder.path, `${steps}.lmdb`))
    const sent: number[] = []
    const ready = await queue.add('blob', Buffer.of(steps))
    queue.register('blob', async ([key]) => void sent.push(key!))
    for (let step = 0; step < steps; step++) await Promise.resolve()
    ready()
    await queue.drained({ signal: AbortSignal.timeout(5_000) })
    expect(sent, `after ${steps} steps`).toEqual([steps])
  }
})
