import type { Command } from 'commander'
import { addCastoreDaemonCommand } from './daemon.ts'
import { addIngestCommand } from './ingest.ts'
import { addCastoreMountCommand } from './mount.ts'
import { addCastoreVirtiofsCommand } from './virtiofs.ts'

/** What `snix-castore` does (spec §4.5): blobs and directories by their digests, without store paths. */
export function addCastoreCommand(program: Command): void {
  const castore = program
    .command('castore')
    .description('Work with blobs and directories by their digests, without store paths.')
  addIngestCommand(castore)
  addCastoreMountCommand(castore)
  addCastoreVirtiofsCommand(castore)
  addCastoreDaemonCommand(castore)
}
