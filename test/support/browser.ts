/** A real browser, Debian's Chromium, without a screen. */

import { existsSync } from 'node:fs'
import puppeteer, { type Browser, type Page } from 'puppeteer-core'

/** Where Debian's package puts it. */
const CHROMIUM = '/usr/bin/chromium'
export const HAS_CHROMIUM = existsSync(CHROMIUM)

export interface TestBrowser extends AsyncDisposable {
  /** Without scripts, unless they are asked for; phone or desk, light or dark. */
  page(look?: Look): Promise<Page>
}

export interface Look {
  readonly scripts?: boolean
  /** Pixels. */
  readonly width?: number
  readonly height?: number
  readonly scheme?: 'light' | 'dark'
}

export async function startBrowser(): Promise<TestBrowser> {
  const browser: Browser = await puppeteer.launch({
    executablePath: CHROMIUM,
    // As root it has no sandbox, and containers have little shared memory.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--hide-scrollbars'],
  })
  return {
    async page({ scripts = false, width = 1000, height = 800, scheme = 'light' } = {}) {
      const page = await browser.newPage()
      await page.setJavaScriptEnabled(scripts)
      await page.setViewport({ width, height })
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
      return page
    },
    async [Symbol.asyncDispose]() {
      await browser.close()
    },
  }
}
