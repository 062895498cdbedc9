// Files as a web server sends them.

import fs from 'node:fs';
import path from 'node:path';

const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json',
  '.mp4': 'video/mp4', '.m4s': 'video/iso.segment', '.m3u8': 'application/vnd.apple.mpegurl', '.png': 'image/png',
  '.jpg': 'image/jpeg',
};

/** The path of a URL, decoded. */
export const pathOf = (url) => decodeURIComponent(new URL(url, 'http://site').pathname);

/** The file of that name in a directory; none outside of it. */
export function fileIn(directory, name) {
  const file = path.join(directory, name);
  return file.startsWith(directory + path.sep) ? file : null;
}

/** Answers with a file, or 404. */
export function sendFile(response, file, headers = {}) {
  fs.readFile(file ?? '', (error, content) => {
    if (error) {
      response.writeHead(404, headers).end();
      return;
    }
    const type = TYPES[path.extname(file)] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': type, ...headers }).end(content);
  });
}
