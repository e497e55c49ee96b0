#include "file.h"

#include <stdio.h>

namespace hw {

DataFile::~DataFile() {
  if (handle_ != kNoFile) close_file(handle_);
  if (direct_ != kNoFile) close_file(direct_);
}

Status DataFile::open(const char* path, IoMode mode) {
  path_ = path;
  int error = 0;
  handle_ = open_file(path, &error);
  char why[240];
  if (handle_ == kNoFile) {
    describe_file_error(error, why, sizeof why);
    return fail(is_missing(error) ? "FILE_NOT_FOUND" : "FILE_IO", "cannot open %.300s: %s", path, why);
  }
  if (identify_file(handle_, &opened_) != 0 || !opened_.regular) {
    return fail("FILE_IO", "%.300s is not a regular file", path);
  }
  bytes_ = opened_.bytes;
  if (mode == IoMode::direct) {
    direct_ = open_file_direct(path);
    FileIdentity other;
    // Between the two opens another file may have taken the name.
    if (direct_ != kNoFile && (identify_file(direct_, &other) != 0 || !other.same_file(opened_))) {
      return fail("MODEL_CHANGED", "%.300s was replaced while it was opened", path);
    }
  }
  return done();
}

void DataFile::no_readahead() const { stop_readahead(handle_); }

Status DataFile::check_unchanged() const {
  FileIdentity now;
  if (int error = identify_file(handle_, &now); error != 0) {
    char why[240];
    describe_file_error(error, why, sizeof why);
    return fail("FILE_IO", "cannot look at %.300s: %s", path(), why);
  }
  if (now.bytes != bytes_) {
    return fail("MODEL_CHANGED", "%.300s had %lld bytes when it was opened and has %lld now; load the model again",
                path(), static_cast<long long>(bytes_), static_cast<long long>(now.bytes));
  }
  if (!now.same_time(opened_) || !now.same_file(opened_)) {
    return fail("MODEL_CHANGED", "%.300s was written to while it was in use; load the model again", path());
  }
  return done();
}

Status DataFile::read_small(int64_t offset, int64_t bytes, uint8_t* out) const {
  int64_t got = 0;
  while (got < bytes) {
    const int64_t n = read_file_at(handle_, offset + got, bytes - got, out + got);
    if (n < 0 && is_interrupted(static_cast<int>(-n))) continue;
    if (n <= 0) {
      IoFailure failure;
      explain(static_cast<int>(-n), offset, bytes, got, &failure);
      return failure.raise();
    }
    got += n;
  }
  return done();
}

void DataFile::explain(int error, int64_t offset, int64_t wanted, int64_t got, IoFailure* out) const {
  // The calling thread's own error slot is used in passing.
  if (!check_unchanged().ok) {
    out->code = last_error().code;
    snprintf(out->message, sizeof out->message, "%.470s", last_error().message);
    return;
  }
  out->code = "FILE_IO";
  if (error == 0) {
    snprintf(out->message, sizeof out->message, "%.300s: read %lld of %lld bytes at offset %lld", path(),
             static_cast<long long>(got), static_cast<long long>(wanted), static_cast<long long>(offset));
  } else {
    char why[120];
    describe_file_error(error, why, sizeof why);
    snprintf(out->message, sizeof out->message, "%.300s: reading %lld bytes at offset %lld failed: %.100s", path(),
             static_cast<long long>(wanted), static_cast<long long>(offset), why);
  }
}

}  // namespace hw
