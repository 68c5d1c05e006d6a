/** The pages where they are in the product: on the server of the binary cache. */
import { createBridge } from '../../src/servers/http/bridge.ts'
import { createPages, type PagesParts } from '../../src/servers/http/pages/pages.ts'
import { createHttpServer } from '../../src/servers/http/server.ts'
import { memoryNarIndex } from '../../src/services/nar-index/memory.ts'
import type { IngestNar } from '../../src/services/pathinfos/interface.ts'
import { silentLogger } from '../../src/support/log.ts'
import { ingestNar } from '../../src/transfer/ingest-nar.ts'

export interface PagesServer extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  readonly origin: string
}

/** `roles`: of the listener, such as `no-list`. */
export async function startPagesServer(parts: Omit<PagesParts, 'logger'>, roles = ''): Promise<PagesServer> {
  const logger = silentLogger
  const pages = createPages({ logger, ...parts })
  const ingest: IngestNar = (nar, more) => ingestNar(parts, nar, { sizeFormula: 'rust', ...more })
  const narIndex = memoryNarIndex()
  const bridge = createBridge({ ...parts, narIndex, ingestNar: ingest, logger, priority: 39, pages })
  const server = createHttpServer({ handler: bridge.handle, logger })
  const address = await server.listen(`127.0.0.1:0${roles === '' ? '' : `?role=${roles}`}`)
  return {
    origin: `http://${address}`,
    async [Symbol.asyncDispose]() {
      pages.close()
      await server.shutdown(0)
    },
  }
}
