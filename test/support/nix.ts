/** Debian's Nix, with stores of its own below a folder: nothing of it touches this machine's. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type RunResult, run, runOk } from './cli.ts'
import { CAN_MOUNT, HAS_NIX, hasProgram } from './requirements.ts'

/** Building takes a mount namespace, in which a folder stands in the place of /nix. */
export const CAN_BUILD_WITH_NIX = HAS_NIX && CAN_MOUNT && hasProgram('unshare')

const WITHOUT_SANDBOX = ['--option', 'build-users-group', '', '--option', 'sandbox', 'false']

/** A Nix client: a store, and a home with its caches. */
export interface NixClient {
  /** Has `nix/store` in it; good for `--store`. */
  readonly root: string
  /** `nix …` on this store. */
  nix(...args: string[]): Promise<RunResult>
  /** `nix-store …` on this store. */
  nixStore(...args: string[]): Promise<RunResult>
}

export function nixClient(folder: string, name: string): NixClient {
  const root = join(folder, name)
  const env = nixEnvironment(root)
  const store = ['--store', root, ...WITHOUT_SANDBOX]
  return {
    root,
    nix: (...args) => run('nix', ['--extra-experimental-features', 'nix-command', ...args, ...store], env),
    nixStore: (...args) => run('nix-store', [...args, ...store], env),
  }
}

function nixEnvironment(root: string): Record<string, string> {
  const home = `${root}-home`
  mkdirSync(home, { recursive: true })
  return { HOME: home, XDG_CACHE_HOME: join(home, '.cache'), NIX_CONF_DIR: home, NIX_REMOTE: '' }
}

/**
 * Builds a Nix expression into the client's store and returns the output path. The builders see this machine's
 * /bin/sh and nothing of the network.
 */
export async function buildWithNix(client: NixClient, expression: string): Promise<string> {
  const { root } = client
  mkdirSync(join(root, 'nix'), { recursive: true })
  const file = join(`${root}-home`, 'expression.nix')
  writeFileSync(file, expression)
  const script = 'mkdir -p /nix && mount --bind "$0/nix" /nix && exec "$@"'
  const build = ['nix-build', ...WITHOUT_SANDBOX, '--no-out-link', file]
  const out = await runOk('unshare', ['--mount', 'sh', '-c', script, root, ...build], nixEnvironment(root))
  return out.trim()
}

/** Three paths that refer to each other, and one to itself, with every kind of entry; `salt` makes them others. */
export function closureExpression(salt = '', megabytes = 1): string {
  return `
let
  make = name: script: derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" script ];
    PATH = "/usr/bin:/bin";
    salt = "${salt}";
  };
  program = make "program" ''
    mkdir -p $out/bin $out/empty; echo "hello $salt" > $out/text; : > $out/nothing
    printf '#!/bin/sh\\necho hi\\n' > $out/bin/hi; chmod +x $out/bin/hi; ln -s ../text $out/bin/link
  '';
  data = make "data" ''
    mkdir $out; echo \${program} > $out/reference; echo $out > $out/self
    head -c ${megabytes}000000 /dev/urandom > $out/random; head -c ${megabytes}000000 /dev/zero > $out/zeros
  '';
in make "closure" "echo \${program} \${data} > $out"
`
}
