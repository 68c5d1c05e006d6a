import type { PathInfo } from '../model/nix/path-info.ts'
import type { StorePath } from '../model/nix/store-path.ts'
import type { PathInfoService } from '../services/pathinfos/interface.ts'
import type { Call } from '../support/call.ts'

/** A path info by the whole name: the service knows the hash alone, and another name is another path (spec §5.1). */
export async function findPath(
  pathInfos: PathInfoService,
  path: StorePath,
  call?: Call,
): Promise<PathInfo | undefined> {
  const found = await pathInfos.get(path.digest, call)
  return found?.storePath.name === path.name ? found : undefined
}
