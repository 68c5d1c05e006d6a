/**
 * Loaded into a process under test with `NODE_OPTIONS=--import=…`: on SIGUSR2 it writes to the file RETAINED_MEMORY how many bytes
 * it has that are no garbage.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const file = process.env['RETAINED_MEMORY'] ?? ''

process.on('SIGUSR2', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  // Buffers are given back behind the scenes, when the next collection begins at the latest.
  for (let i = 0; i < 3; i++) collect()
  const { heapUsed, external } = process.memoryUsage()
  writeFileSync(`${file}.new`, String(heapUsed + external))
  renameSync(`${file}.new`, file)
})
