// Hash table from cells to records, compared in full. Records are numbered from 1 as they come.
#pragma once

#include "blocks.h"

namespace a3d {
namespace {

struct alignas(16) Key {
  int32_t x, y, z;
  uint32_t hash;
};

// A run of a block that meets a record.
struct RunHit {
  int run, row;     // the run and its first row
  uint32_t number;  // of the record
  uint32_t fresh;   // not 0 if the record is new
};

// A key on its way: in one register, because parts in memory cannot be loaded as a whole soon after.
#if defined(A3D_SSE2)
typedef __m128i Packed;

A3D_INLINE Packed packed(int32_t x, int32_t y, int32_t z, uint32_t hash) {
  return _mm_set_epi32(int32_t(hash), z, y, x);
}

A3D_INLINE void put(Key& out, Packed key) {
  _mm_store_si128(reinterpret_cast<__m128i*>(&out), key);
}

A3D_INLINE bool same(const Key& a, Packed b) {
  const __m128i key = _mm_load_si128(reinterpret_cast<const __m128i*>(&a));
  return _mm_movemask_epi8(_mm_cmpeq_epi32(key, b)) == 0xFFFF;
}
#else
typedef Key Packed;

A3D_INLINE Packed packed(int32_t x, int32_t y, int32_t z, uint32_t hash) { return {x, y, z, hash}; }
A3D_INLINE void put(Key& out, Packed key) { out = key; }
A3D_INLINE bool same(const Key& a, Packed b) { return a.x == b.x && a.y == b.y && a.z == b.z; }
#endif

// Record begins with its Key `key`. Open addressing; a slot holds the number of a record, and 0 is
// free.
template <class Record>
class CellIndex {
 public:
  static constexpr int kMostBits = 31;

  // For at most `rows` (< 2^31) records.
  CellIndex(int64_t rows, Arena& arena) {
    for (most_bits_ = 3; (int64_t(1) << most_bits_) <= 4 * rows;) ++most_bits_;
    most_bits_ = least(most_bits_, kMostBits);
    slots_ = arena.take<uint32_t>(int64_t(1) << most_bits_);
  }

  // Forgets everything; room for 3 / 8 * 2^bits cells at first. `records` (rows + 1 of them) need
  // not be cleared.
  void start(Record* records, int bits) {
    records_ = records;
    resize(bits);
    count_ = 0;
    cleared_ = 1;
  }

  int64_t count() const { return count_; }
  Record& operator[](int64_t number) { return records_[number]; }
  const Record& operator[](int64_t number) const { return records_[number]; }

  // Number of the record of a cell, or 0.
  uint32_t find(int32_t x, int32_t y, int32_t z) const {
    const uint32_t hash = hash_of(x, y, z);
    return slots_[locate(packed(x, y, z, hash), hash)];
  }

  // visit(met, record) for each run of the block; a new record is zero but for its key.
  template <class Visit>
  void visit(const Block& block, int runs, Visit visit) {
    reserve(runs);
    uint32_t* const slots = slots_;
    Record* const records = records_;
    const uint32_t places = places_;
    uint32_t count = uint32_t(count_);
    for (int run = 0; run < runs; ++run) {
      A3D_PREFETCH(slots + (block.hash[block.begin[run + kAhead]] & places));
      const int row = block.begin[run];
      const uint32_t hash = block.hash[row];
      const Packed key = packed(block.x[row], block.y[row], block.z[row], hash);
      put(records[count + 1].key, key);  // to stay there if the cell is new
      uint32_t place = hash & places, number = slots[place];
      // Whether a cell is new cannot be guessed: no branch depends on it alone.
      uint32_t fresh = 0u - uint32_t(number < 1);
      A3D_OPAQUE(fresh);
      number |= (count + 1) & fresh;
      if (A3D_UNLIKELY(!same(records[number].key, key))) {
        place = locate(key, hash);
        fresh = 0u - uint32_t(slots[place] < 1);
        number = fresh ? count + 1 : slots[place];
      }
      slots[place] = number;
      count -= fresh;
      visit(RunHit{run, row, number, fresh}, records[number]);
    }
    count_ = count;
  }

 private:
  // Place of the cell, or the free one where it goes.
  A3D_NOINLINE uint32_t locate(Packed key, uint32_t hash) const {
    for (uint32_t place = hash & places_;; place = (place + 1) & places_)
      if (slots_[place] == 0 || same(records_[slots_[place]].key, key)) return place;
  }

  // Room for some more records: cleared, and enough slots.
  void reserve(int more) {
    const int64_t needed = count_ + more + 1;
    if (needed > cleared_) {
      memset(static_cast<void*>(records_ + cleared_), 0, size_t(needed - cleared_) * sizeof(Record));
      cleared_ = needed;
    }
    while (needed * 8 > (int64_t(places_) + 1) * 3 && bits_ < most_bits_) {
      resize(bits_ + 1);
      for (int64_t i = 1; i <= count_; ++i) {
        const uint32_t hash = records_[i].key.hash;
        uint32_t place = hash & places_;
        while (slots_[place]) place = (place + 1) & places_;
        slots_[place] = uint32_t(i);
      }
    }
  }

  void resize(int bits) {
    bits_ = least(bits, most_bits_);
    places_ = (uint32_t(1) << bits_) - 1;
    memset(slots_, 0, sizeof(uint32_t) << bits_);
  }

  uint32_t* slots_;
  Record* records_ = nullptr;
  uint32_t places_ = 0;
  int bits_ = 0, most_bits_;
  int64_t count_ = 0, cleared_ = 1;
};

}  // namespace
}  // namespace a3d
