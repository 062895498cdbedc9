// Serves the SDK's package as it is, and the page that runs the package's own tests.

import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { fileIn, pathOf, sendFile } from './files.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const MODULES = path.join(HERE, '..', 'node_modules');
/** The SDK's package. */
export const PACKAGE = path.join(MODULES, '@flashphoner', 'websdk');
const ROOTS = [
  // [prefix of the URL, directory]
  ['/modules/', MODULES],
  ['/own/', path.join(HERE, '..', 'own')],
  ['/', PACKAGE],
];

function find(url) {
  const name = pathOf(url);
  const [prefix, directory] = ROOTS.find(([start]) => name.startsWith(start));
  return fileIn(directory, name.slice(prefix.length));
}

/** Starts the site on a free port of 127.0.0.1, which browsers count as a secure origin. */
export async function startSite() {
  const server = http.createServer((request, response) => {
    sendFile(response, find(request.url), { 'cache-control': 'max-age=3600' });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
