import { type Command, Option } from 'commander'
import { daemonAddresses } from '../services/composition/default-addresses.ts'
import { type ListedGraph, type ListedNode, listGraph } from '../services/composition/graph-listing.ts'
import { readGraph } from '../services/composition/read-graph.ts'
import { drawGraph } from './config-svg.ts'
import { addStoreOptions, type StoreOptions, storeAddresses, storeOrigins } from './store-options.ts'

interface ShowOptions extends StoreOptions {
  readonly json: boolean
  readonly svg: boolean
}

const HELP = `
Examples:
  $ tvix-store config show --store-composition ./store.toml
  $ tvix-store config show --svg > store.svg`

export function addConfigCommand(program: Command): void {
  const config = program.command('config').description('Look at how the services are put together.')
  const show = config
    .command('show')
    .description(
      'Print the services that the daemon would work with, what they stand on, and who said so; opens nothing.',
    )
    .option('--json', 'one JSON document', false)
    .addOption(new Option('--svg', 'a drawing').default(false).conflicts('json'))
    .addHelpText('after', HELP)
    .action(runShow)
  addStoreOptions(show, daemonAddresses())
}

async function runShow(options: ShowOptions, command: Command): Promise<void> {
  const graph = listGraph(await readGraph(storeAddresses(options), storeOrigins(command)))
  if (options.svg) process.stdout.write(drawGraph(graph))
  else if (options.json) process.stdout.write(`${JSON.stringify(graph, undefined, 2)}\n`)
  else process.stdout.write(printGraph(graph))
}

function printGraph(graph: ListedGraph): string {
  const lines: string[] = []
  for (const [title, role] of [
    ['blobs', 'blobs'],
    ['directories', 'directories'],
    ['path infos', 'pathInfos'],
  ] as const) {
    lines.push(title)
    printNode(lines, graph[role], '  ', '')
  }
  return `${lines.join('\n')}\n`
}

function printNode(lines: string[], node: ListedNode, indent: string, field: string): void {
  const prefix = field === '' ? '' : `${field} = `
  lines.push(`${indent}${prefix}${node.kind}  ${node.label}  (${node.origin})`)
  for (const { name, value, origin } of node.fields) lines.push(`${indent}  ${name} = ${value}  (${origin})`)
  for (const reference of node.references) printNode(lines, reference.node, `${indent}  `, reference.field)
}
