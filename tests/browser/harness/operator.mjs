// An operator's browser: the page of the admin side, and what it shows, read as text.

import fs from 'node:fs';
import path from 'node:path';
import { check, until } from './wait.mjs';

export class Operator {
  /** Opens the page in a context of its own; `scheme`: light or dark. Nothing may go wrong in it unseen. */
  static async open(stage, { width = 1280, height = 900, scheme = 'light' } = {}) {
    const browser = await stage.environment.browser('chromium');
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, locale: 'en-GB' });
    const operator = new Operator(stage, context, await context.newPage());
    operator.page.on('pageerror', (error) => operator.errors.push(error.message));
    operator.page.on('console', (message) => {
      // What the page refuses by its policy is told here as well. Losing the proxy is no fault of the page.
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) operator.errors.push(message.text());
    });
    operator.page.on('request', (request) => operator.asked.add(new URL(request.url()).origin));
    await operator.page.goto(operator.url);
    return operator;
  }

  constructor(stage, context, page) {
    Object.assign(this, { stage, context, page, errors: [], asked: new Set() });
    this.url = `http://${stage.proxy.admin}/`;
  }

  /** The texts of all elements that match, as they are seen. */
  texts(selector) {
    return this.page.locator(selector).allInnerTexts();
  }

  text(selector) {
    return this.page.locator(selector).first().innerText();
  }

  /** Waits until the text of an element is as wanted. */
  until(what, selector, wanted, withinMs = 20_000) {
    const seen = () => this.texts(selector);
    return until(`the page: ${what}`, async () => (await seen()).some((text) => wanted.test(text)), { withinMs, seen });
  }

  row(section, key) {
    return this.page.locator(`#${section} .row[data-key="${key}"]`);
  }

  /** Nothing is wider than the window, and nothing failed. */
  async isWell() {
    check(this.errors.length === 0, 'no error in the page', this.errors);
    const [seen, all] = await this.page.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
    check(all <= seen, 'nothing is wider than the window', { seen, all });
    const foreign = [...this.asked].filter((origin) => `${origin}/` !== this.url && !origin.startsWith('null'));
    check(foreign.length === 0, 'nothing is loaded from elsewhere', foreign);
  }

  /** A picture for people; `SHOTS` names the directory where they are kept. `admin` is the one of the README. */
  async shoot(name) {
    const directory = process.env.SHOTS;
    if (!directory) return;
    fs.mkdirSync(directory, { recursive: true });
    await this.page.screenshot({ path: path.join(directory, `${name}.png`), fullPage: name !== 'admin' });
  }

  async close() {
    await this.context.close();
  }
}
