import { compress } from '../../support/zstd.ts'
import type { NewRecord, RecordRun } from './native-packs.ts'
import { aligned, RECORD_HEAD_BYTES, sealRecord } from './packs-format.ts'

/** What the addon does, without it: one after the other, each by trips of its own. */
export async function layOutRecords(records: readonly NewRecord[], salt: number): Promise<RecordRun> {
  const contents: Uint8Array[] = []
  for (const { body, isZstd } of records) contents.push(isZstd ? await compress(body) : body)
  const lengths = records.map(({ key }, i) => RECORD_HEAD_BYTES + key.length + contents[i]!.length)
  const bytes = Buffer.alloc(lengths.reduce((sum, length) => sum + aligned(length), 0))
  const places = new Uint32Array(2 * records.length)
  let at = 0
  for (const [i, { key }] of records.entries()) {
    const record = bytes.subarray(at, at + lengths[i]!)
    record.set(key, RECORD_HEAD_BYTES)
    record.set(contents[i]!, RECORD_HEAD_BYTES + key.length)
    sealRecord(record, key.length, salt)
    places[2 * i] = at + RECORD_HEAD_BYTES + key.length
    places[2 * i + 1] = contents[i]!.length
    at += aligned(lengths[i]!)
  }
  return { bytes, places, isBulk: false }
}
