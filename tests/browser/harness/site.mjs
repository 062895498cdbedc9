// Serves the SDK's package as it is, and the page that runs the package's own tests.

import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const MODULES = path.join(HERE, '..', 'node_modules');
const ROOTS = [
  // [prefix of the URL, directory]
  ['/modules/', MODULES],
  ['/own/', path.join(HERE, '..', 'own')],
  ['/', path.join(MODULES, '@flashphoner', 'websdk')],
];
const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json',
  '.mp4': 'video/mp4', '.png': 'image/png', '.jpg': 'image/jpeg',
};

function find(url) {
  const name = decodeURIComponent(new URL(url, 'http://site').pathname);
  const [prefix, directory] = ROOTS.find(([start]) => name.startsWith(start));
  const file = path.join(directory, name.slice(prefix.length));
  return file.startsWith(directory + path.sep) ? file : null;
}

/** Starts the site on a free port of 127.0.0.1, which browsers count as a secure origin. */
export async function startSite() {
  const server = http.createServer((request, response) => {
    const file = find(request.url);
    fs.readFile(file ?? '', (error, content) => {
      if (error) {
        response.writeHead(404).end();
        return;
      }
      const type = TYPES[path.extname(file)] ?? 'application/octet-stream';
      response.writeHead(200, { 'content-type': type, 'cache-control': 'max-age=3600' }).end(content);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
