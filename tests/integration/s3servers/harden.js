// SPDX-License-Identifier: MIT
// Repairs @20minutes/s3rver without touching it, so that it is an honest provider: what it takes is
// checked and stored whole, and what it gives is what was asked for.
'use strict';
const fs = require('fs');
const path = require('path');
const crypto = require('crypto');
const { pipeline } = require('stream/promises');
const { Transform, Readable } = require('stream');
const { AsyncLocalStorage } = require('async_hooks');

module.exports = (app, PKG, TMP) => {
  const S3Error = require(PKG + '/lib/models/error');
  const S3Object = require(PKG + '/lib/models/object');
  const store = require(PKG + '/lib/stores/filesystem').prototype;
  const requests = new AsyncLocalStorage();
  const locks = new Map();
  let counter = 0;

  // One operation on a key at a time.
  const locked = (key, operation) => {
    const result = (locks.get(key) || Promise.resolve()).then(operation);
    const settled = result.catch(() => {});
    locks.set(key, settled);
    settled.then(() => locks.get(key) === settled && locks.delete(key));
    return result;
  };

  app.middleware.unshift((ctx, next) => requests.run(ctx, async () => {
    const signed = ctx.headers.authorization || ctx.query['X-Amz-Signature'] || ctx.query.Signature;
    if (!signed) throw new S3Error('AccessDenied', 'Access Denied');
    let name;
    try {
      name = decodeURIComponent(ctx.path);
    } catch (e) {
      throw new S3Error('InvalidURI', 'bad path');
    }
    const bad = s => s === '.' || s === '..' || Buffer.byteLength(s) > 200;
    if (name.split('/').some(bad)) throw new S3Error('KeyTooLongError', 'segment too long, or dots');
    return next();
  }));

  // Streams to a temporary file, then checks what the client promised.
  async function spool(content) {
    const ctx = requests.getStore();
    const h = ctx.headers;
    const tmp = path.join(TMP, String(++counter));
    const md5 = crypto.createHash('md5');
    const sha = crypto.createHash('sha256');
    const upload = ctx.method === 'PUT' && !h['x-amz-copy-source'];
    let size = 0;
    const meter = new Transform({
      transform(chunk, encoding, callback) {
        size += chunk.length;
        md5.update(chunk);
        if (upload) sha.update(chunk);
        callback(null, chunk);
      },
    });
    try {
      const source = Buffer.isBuffer(content) ? Readable.from([content]) : content;
      await pipeline(source, meter, fs.createWriteStream(tmp));
      const digest = md5.digest();
      if (upload) {
        const length = h['x-amz-decoded-content-length'] || h['content-length'];
        if (length !== undefined && Number(length) !== size) throw new S3Error('IncompleteBody', 'short');
        if (h['content-md5'] && h['content-md5'] !== digest.toString('base64'))
          throw new S3Error('BadDigest', 'Content-MD5 differs');
        const want = h['x-amz-content-sha256'];
        if (/^[0-9a-f]{64}$/.test(want) && want !== sha.digest('hex'))
          throw new S3Error('BadDigest', 'x-amz-content-sha256 differs');
      }
      return { tmp, size, md5: digest.toString('hex') };
    } catch (e) {
      fs.rm(tmp, { force: true }, () => {});
      if (e.code === 'ERR_STREAM_PREMATURE_CLOSE' || e.code === 'ECONNRESET')
        throw new S3Error('IncompleteBody', 'cut off');
      throw e;
    }
  }

  store.putObject = async function (object) {
    const ctx = requests.getStore();
    const file = this.getResourcePath(object.bucket, object.key, 'object');
    const spooled = await spool(object.content);
    return locked(file, async () => {
      if (ctx.headers['if-none-match'] === '*' && fs.existsSync(file)) {
        fs.rmSync(spooled.tmp);
        throw new S3Error('PreconditionFailed', 'exists');
      }
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.renameSync(spooled.tmp, file);
      await this.putMetadata(object.bucket, object.key, object.metadata, spooled.md5);
      return spooled;
    });
  };

  store.getObject = function (bucket, key, options) {
    const ctx = requests.getStore();
    const file = this.getResourcePath(bucket, key, 'object');
    const m = options && /^bytes=(\d*)-(\d*)$/.exec(ctx.headers.range || '');
    const part = (start, end) => new Promise((resolve, reject) => {
      const s = fs.createReadStream(file, { start, end }).on('error', reject).on('open', () => resolve(s));
    });
    return locked(file, async () => {
      try {
        const metadata = await this.getMetadata(bucket, key);
        const size = Number(metadata['content-length']);
        let start = 0;
        let end = size - 1;
        if (m && m[1]) {
          start = Number(m[1]);
          if (m[2]) end = Math.min(end, Number(m[2]));
        } else if (m && m[2]) {
          start = Math.max(0, size - Number(m[2]));
        }
        const ranged = m && (m[1] || m[2]);
        const beyond = ranged && start > end;
        const content = beyond ? null : size ? await part(start, end) : Readable.from([]);
        const object = new S3Object(bucket, key, content, metadata);
        if (ranged) object.range = { start, end };
        return object;
      } catch (e) {
        if (e.code === 'ENOENT') return null;
        throw e;
      }
    });
  };

  // Leaves empty folders behind, so that no PUT loses its folder.
  store.deleteObject = async function (bucket, key) {
    const files = ['object', 'object.md5', 'metadata.json'].map(x => this.getResourcePath(bucket, key, x));
    return locked(files[0], async () => files.forEach(x => fs.rmSync(x, { force: true })));
  };
};
