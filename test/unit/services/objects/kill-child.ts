/** Puts objects into the store at argv[2] until it is killed, and says so on standard output when it began. */
import { openFileObjectStore } from '../../../../src/services/objects/file.ts'
import { bodyOf } from './kill-body.ts'

const store = await openFileObjectStore(process.argv[2]!)
const round = process.argv[3]!
process.stdout.write('began\n')
for (let i = 0; ; i += 8)
  await Promise.all(
    Array.from({ length: 8 }, async (_, j) => {
      const key = `chunks/${round}/${i + j}`
      await store.put(key, bodyOf(key), { ifAbsent: true })
      process.stdout.write(`${key}\n`)
    }),
  )
