// Compiles src/ to dist/ for the published package: Node strips no types below node_modules.
import { execFileSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'

rmSync('dist', { recursive: true, force: true })
execFileSync('tsc', ['--project', 'tsconfig.build.json'], { stdio: 'inherit' })
// What the protobuf compiler wrote is JavaScript already.
cpSync('src/model/wire/generated', 'dist/model/wire/generated', { recursive: true })
