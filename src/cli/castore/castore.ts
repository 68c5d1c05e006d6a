import type { Command } from 'commander'
import { type CommandLoaders, loadersOf } from '../command-loaders.ts'

const COMMANDS: CommandLoaders = {
  ingest: async () => (await import('./ingest.ts')).addIngestCommand,
  mount: async () => (await import('./mount.ts')).addCastoreMountCommand,
  virtiofs: async () => (await import('./virtiofs.ts')).addCastoreVirtiofsCommand,
  http: async () => (await import('./http.ts')).addCastoreHttpCommand,
  daemon: async () => (await import('./daemon.ts')).addCastoreDaemonCommand,
}

/** What `snix-castore` does (spec §4.5): blobs and directories by their digests, without store paths. */
export async function addCastoreCommand(program: Command, args: readonly string[]): Promise<void> {
  const castore = program
    .command('castore')
    .description('Work with blobs and directories by their digests, without store paths.')
  for (const load of loadersOf(COMMANDS, args)) await (await load())(castore, args)
}
