// Stands for decoders that are not part of the page; see codecs.ts.
export default {
  fromConfig(): never {
    throw new Error("this page has no decoder for one of the store's codecs");
  },
};
