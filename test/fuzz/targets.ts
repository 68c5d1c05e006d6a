/** Everything that reads what strangers wrote. */
import type { Target } from './target.ts'
import { address } from './targets/address.ts'
import { composition } from './targets/composition.ts'
import { directory } from './targets/directory.ts'
import { http } from './targets/http.ts'
import { listing } from './targets/listing.ts'
import { nar } from './targets/nar.ts'
import { narinfo } from './targets/narinfo.ts'
import { nixText } from './targets/nix-text.ts'
import { pathInfo } from './targets/path-info.ts'
import { tar } from './targets/tar.ts'
import { vhostUser } from './targets/vhost-user.ts'

export const TARGETS: Readonly<Record<string, Target>> = {
  address,
  composition,
  directory,
  http,
  listing,
  nar,
  narinfo,
  'nix-text': nixText,
  'path-info': pathInfo,
  tar,
  'vhost-user': vhostUser,
}
