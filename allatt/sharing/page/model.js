"use strict";
/* The model in plain JavaScript: weights, text and tokens, the forward pass, losses, generation. No page: this file runs in
Node, too, where tests compare it with torch. The equations are those of allatt/attention.py, model.py and softmax.py:

    x_0     = sqrt(D) E[token]
    n       = LN(x),  q = Wq n,  k = Wk n,  v = Wv n                       per layer and head
    s_j     = ((q + u) . k_j + (q + w) . r_{i-j}) / sqrt(K)                positions i-M <= j <= i: the same-length mask
    s_n     = q . pk_n                                                     persistent vectors, All-attention only
    head    = softmax([s_j, s_n]) [v_j; sqrt(N) pv_n]
    y       = x + b + sum over the heads that are there of Wo head         a head that is away adds nothing
    z       = y + W2 relu(W1 LN(y) + b1) + b2                              Transformer-XL only
    log p   = log_softmax(E z + b)                                         after the last layer

A position depends on the M positions before it, in each layer, whether they came in this call or in an earlier one. So a
text may be read at once or token by token: the results are the same, and no segments are needed.

Suffixes of arrays: T tokens of a call   P positions so far   D d_model   K d_head   M memory   C = M + 1 distances
N persistent vectors   F feed-forward   V tokens of the vocabulary   H heads before any removal   L layers */

const allatt = (() => {
  const EPSILON = 1e-5; // of LayerNorm: torch's default

  // Weights

  /** The number that the 16 bits of a half-precision float stand for. */
  function half(bits) {
    const sign = bits >> 15 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
    return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
  }

  /** Numbers of a base64 text of little-endian half-precision floats. */
  function decodeHalves(base64) {
    const bytes = atob(base64), numbers = new Float32Array(bytes.length / 2);
    for (let i = 0; i < numbers.length; i++) numbers[i] = half(bytes.charCodeAt(2 * i) | bytes.charCodeAt(2 * i + 1) << 8);
    return numbers;
  }

  /** The model of the page's data: each layer a list of heads, each head its own views of the weights. */
  function load(data) {
    const c = data.config, numbers = decodeHalves(data.weights), tensors = {};
    let end = 0;
    for (const [name, size] of data.tensors) tensors[name] = numbers.subarray(end, end += size);
    const model = { D: c.d_model, K: c.d_head, M: c.memory, N: c.persistent, F: c.feed_forward, H: c.heads,
                    V: data.tokens.pieces.length, table_VD: tensors["softmax.tables.0"], bias_V: tensors["softmax.bias"] };
    model.layers = data.kept.map((kept, l) => {
      const of = (name) => tensors[`blocks.${l}.${name}`], shared = !of("content_bias_HK");
      const layer = { norm: [of("norm.weight"), of("norm.bias")], outputBias_D: of("output_bias_D"), feed: null };
      layer.heads = kept.map((index, row) => {
        const part = (tensor, size, i) => tensor.subarray(i * size, (i + 1) * size), { D, K, N } = model;
        const head = { index, pk_NK: null, pv_NK: null };
        for (const name of ["query", "key", "value", "output"]) head[`${name}_KD`] = part(of(`${name}_HKD`), K * D, row);
        // Transformer-XL's layers share u and w, of all heads before any removal; All-attention's have their own.
        head.u_K = shared ? part(tensors.content_bias_HK, K, index) : part(of("content_bias_HK"), K, row);
        head.w_K = shared ? part(tensors.position_bias_HK, K, index) : part(of("position_bias_HK"), K, row);
        head.r_CK = new Float32Array((model.M + 1) * K); // r_c = Wr distance_c
        for (let distance = 0; distance <= model.M; distance++)
          head.r_CK.set(times(part(of("position_HKD"), K * D, row), part(tensors.distance_PD, D, distance), K), distance * K);
        if (of("persistent_key_HNK")) {
          head.pk_NK = part(of("persistent_key_HNK"), N * K, row);
          head.pv_NK = part(of("persistent_value_HNK"), N * K, row);
        }
        return head;
      });
      if (of("feed_norm.weight")) {
        layer.feed = { norm: [of("feed_norm.weight"), of("feed_norm.bias")], in_FD: of("feed_in.weight"),
                       in_F: of("feed_in.bias"), out_DF: of("feed_out.weight"), out_D: of("feed_out.bias") };
      }
      return layer;
    });
    return model;
  }

  // The forward pass

  /** W x, for W of `rows` rows. */
  function times(weight, x, rows) {
    const out = new Float32Array(rows), width = x.length;
    for (let r = 0, i = 0; r < rows; r++) {
      let sum = 0;
      for (let c = 0; c < width; c++) sum += weight[i++] * x[c];
      out[r] = sum;
    }
    return out;
  }

  function layerNorm(x_D, [weight_D, bias_D]) {
    const D = x_D.length, out_D = new Float32Array(D);
    let mean = 0, variance = 0;
    for (const x of x_D) mean += x / D;
    for (const x of x_D) variance += (x - mean) ** 2 / D;
    const scale = 1 / Math.sqrt(variance + EPSILON);
    for (let d = 0; d < D; d++) out_D[d] = (x_D[d] - mean) * scale * weight_D[d] + bias_D[d];
    return out_D;
  }

  /** Output of one head at one position, from the layer's normed input there; its key and value join those of the past. */
  function attend(model, head, n_D, position, past) {
    const { K, M } = model, N = head.pk_NK ? model.N : 0, first = Math.max(0, position - M), context = position - first + 1;
    const q_K = times(head.query_KD, n_D, K), { key_PK, value_PK } = past;
    key_PK.set(times(head.key_KD, n_D, K), position * K);
    value_PK.set(times(head.value_KD, n_D, K), position * K);
    const weights = new Float32Array(context + N), { u_K, w_K, r_CK, pk_NK, pv_NK } = head;
    for (let j = first; j <= position; j++) {
      let score = 0;
      const key = j * K, distance = (position - j) * K;
      for (let k = 0; k < K; k++)
        score += (q_K[k] + u_K[k]) * key_PK[key + k] + (q_K[k] + w_K[k]) * r_CK[distance + k];
      weights[j - first] = score / Math.sqrt(K);
    }
    for (let n = 0, i = 0; n < N; n++) {
      let score = 0;
      for (let k = 0; k < K; k++) score += q_K[k] * pk_NK[i++];
      weights[context + n] = score;
    }
    let most = -Infinity, sum = 0;
    for (const weight of weights) most = Math.max(most, weight);
    for (let i = 0; i < weights.length; i++) sum += weights[i] = Math.exp(weights[i] - most);
    const out_K = new Float32Array(K), persistent_K = new Float32Array(K);
    for (let j = first; j <= position; j++)
      for (let k = 0; k < K; k++) out_K[k] += weights[j - first] * value_PK[j * K + k];
    for (let n = 0, i = 0; n < N; n++)
      for (let k = 0; k < K; k++) persistent_K[k] += weights[context + n] * pv_NK[i++];
    for (let k = 0; k < K; k++) out_K[k] = (out_K[k] + Math.sqrt(N) * persistent_K[k]) / sum;
    return out_K;
  }

  /** A layer's output for T tokens, the first of which stands at position `start`. open_H: the heads that take part. */
  function runLayer(model, l, x_TD, start, past_H, open_H) {
    const { D, K, F } = model, layer = model.layers[l], out_TD = new Float32Array(x_TD.length);
    for (let t = 0; t * D < x_TD.length; t++) {
      const x_D = x_TD.subarray(t * D, (t + 1) * D), y_D = out_TD.subarray(t * D, (t + 1) * D);
      const n_D = layerNorm(x_D, layer.norm);
      for (let d = 0; d < D; d++) y_D[d] = x_D[d] + layer.outputBias_D[d];
      for (const head of layer.heads) {
        if (!open_H[head.index]) continue;
        const out_K = attend(model, head, n_D, start + t, past_H[head.index]);
        for (let k = 0, i = 0; k < K; k++)
          for (let d = 0; d < D; d++) y_D[d] += out_K[k] * head.output_KD[i++];
      }
      if (layer.feed) {
        const hidden_F = times(layer.feed.in_FD, layerNorm(y_D, layer.feed.norm), F);
        for (let f = 0; f < F; f++) hidden_F[f] = Math.max(0, hidden_F[f] + layer.feed.in_F[f]);
        const fed_D = times(layer.feed.out_DF, hidden_F, D);
        for (let d = 0; d < D; d++) y_D[d] += fed_D[d] + layer.feed.out_D[d];
      }
    }
    return out_TD;
  }

  /** Room for the keys and values of one layer, at so many positions. */
  function newPast(model, positions) {
    const numbers = () => new Float32Array(positions * model.K);
    return Array.from({ length: model.H }, () => ({ key_PK: numbers(), value_PK: numbers() }));
  }

  /** Room for all layers. */
  const newCache = (model, positions) => ({ filled: 0, layers: model.layers.map(() => newPast(model, positions)) });

  /** What enters the first layer. */
  function embed(model, ids) {
    const { D } = model, x_TD = new Float32Array(ids.length * D);
    ids.forEach((id, t) => {
      for (let d = 0; d < D; d++) x_TD[t * D + d] = Math.sqrt(D) * model.table_VD[id * D + d];
    });
    return x_TD;
  }

  /** The last layer's output for these tokens, which follow those in the cache. */
  function read(model, ids, cache, open_LH) {
    let x_TD = embed(model, ids);
    for (let l = 0; l < model.layers.length; l++)
      x_TD = runLayer(model, l, x_TD, cache.filled, cache.layers[l], open_LH[l]);
    cache.filled += ids.length;
    return x_TD;
  }

  /** Log-probabilities of all tokens after position t of x. */
  function logProbs(model, x_TD, t) {
    const { D, V } = model, out_V = times(model.table_VD, x_TD.subarray(t * D, (t + 1) * D), V);
    let most = -Infinity, sum = 0;
    for (let v = 0; v < V; v++) most = Math.max(most, out_V[v] += model.bias_V[v]);
    for (let v = 0; v < V; v++) sum += Math.exp(out_V[v] - most);
    for (let v = 0; v < V; v++) out_V[v] -= most + Math.log(sum);
    return out_V;
  }

  // Losses

  /** For each token but the first, how surprising it is, -log p in nats, and which token was the likeliest there. */
  function surprises(model, x_TD, ids) {
    return ids.slice(1).map((id, t) => {
      const log_V = logProbs(model, x_TD, t);
      return { id, nats: -log_V[id], likeliest: largest(log_V), most: Math.exp(log_V[largest(log_V)]) };
    });
  }

  /** The mean surprise: the loss, in nats per token. Its exponential is the perplexity. */
  const loss = (tokens) => tokens.reduce((sum, token) => sum + token.nats, 0) / tokens.length;

  const largest = (values) => values.reduce((best, value, i) => value > values[best] ? i : best, 0);

  /** All heads that the model has; open_LH[layer][head] is true. */
  const allOpen = (model) => model.layers.map((layer) => {
    const open_H = new Array(model.H).fill(false);
    for (const head of layer.heads) open_H[head.index] = true;
    return open_H;
  });

  /** One by one, the rise of the loss when a head alone is removed. The layers below it stay what they are: not run again.
   * In between it yields null, so that its caller can do something else. */
  function* importance(model, ids) {
    const all = allOpen(model), entered = [embed(model, ids)];
    for (let l = 0; l < model.layers.length; l++) {
      entered.push(runLayer(model, l, entered[l], 0, newPast(model, ids.length), all[l]));
      yield null;
    }
    const before = loss(surprises(model, entered.at(-1), ids));
    for (let l = 0; l < model.layers.length; l++) {
      for (const { index } of model.layers[l].heads) {
        let changed_TD = entered[l];
        for (let m = l; m < model.layers.length; m++) {
          const open_H = all[m].map((open, h) => open && !(m === l && h === index));
          changed_TD = runLayer(model, m, changed_TD, 0, newPast(model, ids.length), open_H);
          yield null;
        }
        yield { layer: l, head: index, rise: loss(surprises(model, changed_TD, ids)) - before };
      }
    }
  }

  // Generation

  /** Numbers that look uniform in [0, 1), and are the same for the same seed (mulberry32). */
  function* noise(seed) {
    for (let state = seed >>> 0; ;) {
      state = state + 0x6D2B79F5 >>> 0;
      let mixed = Math.imul(state ^ state >>> 15, state | 1);
      mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
      yield ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
    }
  }

  /** One token: where a uniform number falls among the summed probabilities^(1/temperature); 0 takes the likeliest one. */
  function draw(log_V, uniform, temperature) {
    if (temperature === 0) return largest(log_V);
    const most = log_V[largest(log_V)], weights = Array.from(log_V, (log) => Math.exp((log - most) / temperature));
    let rest = uniform * weights.reduce((sum, weight) => sum + weight, 0);
    const found = weights.findIndex((weight) => (rest -= weight) < 0);
    return found < 0 ? largest(log_V) : found; // rounding may leave a little of the rest
  }

  /** Token by token, what the model writes after a text that it has read (x and cache of `read`); it does not end by itself. */
  function* generate(model, x_TD, cache, open_LH, temperature, seed) {
    for (const uniform of noise(seed)) {
      const id = draw(logProbs(model, x_TD, x_TD.length / model.D - 1), uniform, temperature);
      yield id;
      x_TD = read(model, [id], cache, open_LH);
    }
  }

  return { load, decodeHalves, read, newCache, logProbs, surprises, loss, allOpen, importance, noise, draw, generate };
})();

if (typeof module !== "undefined") module.exports = allatt;
