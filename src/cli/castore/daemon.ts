import type { Command } from 'commander'
import { addServerOptions, type ServerOptions, serveGrpc } from '../daemon.ts'
import {
  addCastoreOptions,
  type CastoreOptions,
  castoreAddresses,
  ownDaemonAddresses,
} from '../store-options.ts'

export function addCastoreDaemonCommand(castore: Command): void {
  const command = castore
    .command('daemon')
    .description('Serve blobs and directories over gRPC, and no path infos.')
    .addHelpText('after', '\nExample:\n  $ tvix-store castore daemon -l /run/castore.socket')
    .action((options: ServerOptions & CastoreOptions) =>
      serveGrpc(options, command, castoreAddresses(options), ({ blobs, directories }) => ({
        blobs,
        directories,
      })),
    )
  addServerOptions(command)
  addCastoreOptions(command, ownDaemonAddresses())
}
