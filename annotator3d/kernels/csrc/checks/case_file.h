// A test case in a file: named arrays, which a Python script writes with the reference's answers
// (tests/support/kernel_cases.py).
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace a3d {

// [name 32 bytes][bytes int64][data] again and again.
class CaseFile {
 public:
  explicit CaseFile(const std::string& path) : path_(path) {
    std::ifstream in(path, std::ios::binary);
    char name[32];
    while (in.read(name, sizeof name)) {
      int64_t bytes = 0;
      in.read(reinterpret_cast<char*>(&bytes), sizeof bytes);
      std::vector<char>& data = arrays_[name];
      data.resize(size_t(bytes));
      if (!in.read(data.data(), bytes)) fail("the file is cut short");
    }
    if (arrays_.empty()) fail("there is nothing in it");
  }

  bool has(const std::string& name) const { return arrays_.count(name) > 0; }

  template <class T>
  const T* at(const std::string& name) const {
    const std::vector<char>& data = array(name);
    return data.empty() ? nullptr : reinterpret_cast<const T*>(data.data());
  }
  template <class T>
  int64_t length(const std::string& name) const {
    return int64_t(array(name).size() / sizeof(T));
  }
  int64_t number(const std::string& name) const { return *at<int64_t>(name); }
  double real(const std::string& name) const { return *at<double>(name); }
  std::string text(const std::string& name) const {
    return {array(name).begin(), array(name).end()};
  }

  // Ends the program where the array `name` of the file is not what was found.
  template <class T>
  void expect(const std::string& name, const std::vector<T>& found) const {
    const std::vector<char>& data = array(name);
    if (data.size() != found.size() * sizeof(T) ||
        (!data.empty() && memcmp(data.data(), found.data(), data.size())))
      fail(name + " differs from the reference");
  }
  // The same for scores that may be off by 1e-6.
  void expect_near(const std::string& name, const std::vector<int64_t>& found) const {
    if (length<int64_t>(name) != int64_t(found.size())) fail(name + ": another length");
    for (size_t i = 0; i < found.size(); ++i)
      if (std::llabs(at<int64_t>(name)[i] - found[i]) > 4294) fail(name + " is off by over 1e-6");
  }
  [[noreturn]] void fail(const std::string& what) const {
    fprintf(stderr, "%s: %s\n", path_.c_str(), what.c_str());
    exit(1);
  }

 private:
  const std::vector<char>& array(const std::string& name) const {
    const auto found = arrays_.find(name);
    if (found == arrays_.end()) fail("no array " + name);
    return found->second;
  }

  std::string path_;
  std::map<std::string, std::vector<char>> arrays_;
};

}  // namespace a3d
