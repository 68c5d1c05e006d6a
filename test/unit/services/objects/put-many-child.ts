/**
 * Stores batches of objects at argv[2], as files or (argv[5]) in packs, and says on standard output, as JSON, which were stored and with what codes the
 * others failed: argv[3] batches, or as many as there is time for until it is killed.
 */
import { openFileObjectStore } from '../../../../src/services/objects/file.ts'
import { openPackedObjectStore } from '../../../../src/services/objects/packs.ts'
import { bodyOf } from './kill-body.ts'

const open = process.argv[5] === 'packs' ? openPackedObjectStore : openFileObjectStore
const store = await open(process.argv[2]!)
const [batches, round] = [Number(process.argv[3]), process.argv[4] ?? '0']
process.stdout.write('[]\n')
for (let batch = 0; batch < batches; batch++) {
  const keys = Array.from({ length: 40 }, (_, i) => `chunks/${round}-${batch}-${i % 7}/${i}`)
  const objects = keys.map((key) => ({ key, body: bodyOf(key) }))
  const errors = await store.putMany!(objects, { zstd: true })
  process.stdout.write(`${JSON.stringify(keys.map((key, i) => [key, errors[i]?.code ?? 'stored']))}\n`)
}
