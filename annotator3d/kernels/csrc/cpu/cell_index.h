// Hash table from cells to records, compared in full. Records are numbered from 1 as they come.
#pragma once

#include "blocks.h"

namespace a3d {
namespace {

struct alignas(16) Key {
  int32_t x, y, z;
  uint32_t hash;
};

inline bool same_cell(const Key& a, const Key& b) {
  return a.x == b.x && a.y == b.y && a.z == b.z;
}

// A run of a block that meets a record.
struct Met {
  int run, row;     // the run and its first row
  uint32_t number;  // of the record
  uint32_t fresh;   // not 0 if the record is new
};

inline Key key_of(const Block& block, int row) {
  return {block.x[row], block.y[row], block.z[row], block.hash[row]};
}

// Record begins with its Key `key`. Open addressing; a slot holds the number of a record in its low
// bits and the high bits of the hash above, and 0 is free.
template <class Record>
class CellIndex {
 public:
  static constexpr int kMostBits = 31;

  // For at most `rows` (< 2^31) records.
  CellIndex(int64_t rows, Cutter& cutter) {
    for (number_bits_ = 1; (int64_t(1) << number_bits_) <= rows;) ++number_bits_;
    most_bits_ = least(number_bits_ + 2, kMostBits);
    slots_ = cutter.take<uint32_t>(int64_t(1) << most_bits_);
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
    const Key key{x, y, z, hash_of(x, y, z)};
    return slots_[locate(key)] & numbers();
  }

  // visit(met, record) for each run of the block; a new record is zero but for its key.
  template <class Visit>
  void visit(const Block& block, int runs, Visit visit) {
    reserve(runs);
    uint32_t* const slots = slots_;
    Record* const records = records_;
    const uint32_t numbers = this->numbers(), places = places_;
    uint32_t count = uint32_t(count_);
    for (int run = 0; run < runs; ++run) {
      A3D_PREFETCH(slots + (block.hash[block.begin[run + kAhead]] & places));
      const int row = block.begin[run];
      const uint32_t hash = block.hash[row], tag = hash & ~numbers;
      uint32_t place = hash & places, slot = slots[place];
      // Whether a cell is new cannot be guessed: no branch depends on it alone.
      uint32_t fresh = 0u - uint32_t(slot < 1);
      A3D_OPAQUE(fresh);
      uint32_t number = (slot ^ tag) & ~fresh;  // too large where the tags differ
      A3D_OPAQUE(number);
      bool found = number <= numbers;
      if (!A3D_UNLIKELY(!found)) {
        number |= (count + 1) & fresh;
        uint32_t same = equal(block, row, records[number].key) | (fresh & kEqual);
        A3D_OPAQUE(same);
        found = same == kEqual;
      }
      if (A3D_UNLIKELY(!found)) {
        place = locate(key_of(block, row));
        fresh = 0u - uint32_t(slots[place] < 1);
        number = fresh ? count + 1 : slots[place] & numbers;
      }
      Record& record = records[number];
      record.key = key_of(block, row);
      slots[place] = tag | number;
      count -= fresh;
      visit(Met{run, row, number, fresh}, record);
    }
    count_ = count;
  }

 private:
  uint32_t numbers() const { return (uint32_t(1) << number_bits_) - 1; }

#if defined(A3D_SSE2)
  static constexpr uint32_t kEqual = 0xFFFF;
  static uint32_t equal(const Block& block, int row, const Key& key) {
    const __m128i a = _mm_set_epi32(int32_t(block.hash[row]), block.z[row], block.y[row], block.x[row]);
    const __m128i b = _mm_load_si128(reinterpret_cast<const __m128i*>(&key));
    return uint32_t(_mm_movemask_epi8(_mm_cmpeq_epi32(a, b)));
  }
#else
  static constexpr uint32_t kEqual = 1;
  static uint32_t equal(const Block& block, int row, const Key& key) {
    return uint32_t(((block.x[row] ^ key.x) | (block.y[row] ^ key.y) | (block.z[row] ^ key.z)) == 0);
  }
#endif

  // Place of the cell, or the free one where it goes.
  A3D_NOINLINE uint32_t locate(const Key& key) const {
    const uint32_t tag = key.hash & ~numbers();
    for (uint32_t place = key.hash & places_;; place = (place + 1) & places_) {
      const uint32_t slot = slots_[place];
      if (slot == 0) return place;
      if ((slot & ~numbers()) == tag && same_cell(records_[slot & numbers()].key, key)) return place;
    }
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
        slots_[place] = (hash & ~numbers()) | uint32_t(i);
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
  int bits_ = 0, most_bits_, number_bits_;
  int64_t count_ = 0, cleared_ = 1;
};

}  // namespace
}  // namespace a3d
