import { createHash } from 'node:crypto'
import type { NarCalculation } from '../services/pathinfos/interface.ts'
import { type Contents, narRooms, renderNar } from './render-nar.ts'

/** Renders the NAR here, from blobs and directories, and keeps nothing of it but its size and hash. */
export function localNarCalculation(services: Contents): NarCalculation {
  return {
    async calculateNar(node, call) {
      const hash = createHash('sha256')
      let size = 0
      for await (const piece of renderNar(services, node, call)) {
        hash.update(piece)
        size += piece.length
        narRooms.giveBack(piece)
      }
      return { narSize: BigInt(size), narSha256: hash.digest() }
    },
  }
}
