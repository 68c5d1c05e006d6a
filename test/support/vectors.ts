import { readFileSync } from 'node:fs'

/** The conformance vectors: what other implementations write and accept, byte for byte. */
export const vectors = JSON.parse(readFileSync(new URL('../golden/vectors.json', import.meta.url), 'utf8'))

/** Contents of the blobs that the vectors call by name. */
export function vectorBlob(name: string): Uint8Array {
  const item = vectors.blobs.items.find((blob: { name: string }) => blob.name === name)
  if (!item) throw new Error(`no blob ${name} among the vectors`)
  if (item.content_hex !== undefined) return Buffer.from(item.content_hex, 'hex')
  const bytes = new Uint8Array(item.size)
  for (let i = 0; i < bytes.length; i++) bytes[i] = i % 255
  return bytes
}
